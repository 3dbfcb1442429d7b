//! Parts, which the flake hands over.

use toml::Spanned;

use super::accept;
use crate::model::CratePart;
use crate::reader::Fields;
use crate::value;

/// The path in a part that `from` gives; empty for all of it.
pub(super) fn read_from(fields: &Fields, is_part: bool) -> String {
    let Some(from) = fields.string("from") else {
        return String::new();
    };
    if !is_part {
        let problem = fields
            .reader
            .problem(from.span(), "`from` is a path in a part, and this is none");
        fields
            .reader
            .report(problem.help("drop `from`, or name a `part`"));
    }
    accept(fields.reader, &from, value::inner_path(from.get_ref())).unwrap_or_default()
}

/// A part of a crate.
pub(super) fn read_crate_part(fields: &Fields) -> Option<CratePart> {
    let part = fields.required("part", fields.string("part"), "\"…\"");
    let path = fields.required("path", fields.string("path"), "\"ui/dist\"");
    let from = read_from(fields, true);
    let (part, path) = (part?, path?);
    accept(fields.reader, &part, value::part_name(part.get_ref()))?;
    let place = accept(fields.reader, &path, value::inner_path(path.get_ref()))?;
    let path = Spanned::new(path.span(), place);
    Some(CratePart { part, path, from })
}
