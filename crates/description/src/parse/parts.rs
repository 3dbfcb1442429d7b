//! Reads parts: those that the description itself makes, and the parts of crates and images.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::{accept, downloads, npm};
use crate::model::{CratePart, DownloadedPart, NpmPart};
use crate::reader::{Fields, Reader};
use crate::{schema, value};

/// The origin of a part.
enum Origin {
    Npm(NpmPart),
    Download(DownloadedPart),
}

/// Reads `[parts]`: those that npm makes, and those that are downloaded, by name.
pub(super) fn read(top: &Fields) -> (BTreeMap<String, NpmPart>, BTreeMap<String, DownloadedPart>) {
    let mut npm_parts = BTreeMap::new();
    let mut downloads = BTreeMap::new();
    for (name, origin) in super::named(top, "parts", "parts", read_part) {
        match origin {
            Origin::Npm(part) => drop(npm_parts.insert(name, part)),
            Origin::Download(part) => drop(downloads.insert(name, part)),
        }
    }
    (npm_parts, downloads)
}

fn read_part(
    reader: &Reader,
    name: Spanned<String>,
    value: &Spanned<DeValue>,
    place: &str,
) -> Option<(String, Origin)> {
    accept(reader, &name, value::part_name(name.get_ref()));
    let fields = reader.table(value, &schema::PART, place)?;
    let origin = match ["npm", "download"].map(|it| fields.value(it).is_some()) {
        [true, false] => Origin::Npm(npm::read(&fields)?),
        [false, true] => Origin::Download(downloads::read(&fields, name.get_ref())?),
        [is_both, _] => {
            let has = if is_both { "both" } else { "none" };
            let message =
                format!("{place} is made by `npm` or from a `download`, and this has {has}");
            let help = match is_both {
                true => "keep one of them",
                false => "add `npm = \"ui\"` or `download = { url = \"https://…\" }`",
            };
            reader.report(reader.problem(fields.span(), message).help(help));
            return None;
        }
    };
    Some((name.into_inner(), origin))
}

/// Reads `from`, a path in a part; empty for the whole part.
pub(super) fn read_from(fields: &Fields, is_part: bool) -> String {
    let Some(from) = fields.string("from") else {
        return String::new();
    };
    if !is_part {
        let problem = fields.reader.problem(
            from.span(),
            "`from` is a path in a part, but this names no part",
        );
        fields
            .reader
            .report(problem.help("drop `from`, or name a `part`"));
    }
    accept(fields.reader, &from, value::inner_path(from.get_ref())).unwrap_or_default()
}

/// Reads a part of a crate.
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
