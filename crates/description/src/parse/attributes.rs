//! Capabilities and extended attributes of a file.

use std::collections::BTreeMap;

use crateyard_spec::{
    CAPABILITY_ATTRIBUTE, CAPABILITY_NAMES, Capabilities, attribute_value, check_attribute,
};
use toml::Spanned;

use super::{accept, report_repeated};
use crate::model::FileAttributes;
use crate::problem::nearest;
use crate::reader::Fields;

/// The two keys of a file's attributes.
const CAPABILITIES: &str = "capabilities";
const XATTRS: &str = "xattrs";

/// Reads `capabilities` and `xattrs` of a file or a program.
pub(super) fn read(fields: &Fields) -> FileAttributes {
    let mut all = read_xattrs(fields);
    if let Some(capabilities) = read_capabilities(fields) {
        all.insert(CAPABILITY_ATTRIBUTE.to_owned(), capabilities.attribute());
    }
    let keys = [CAPABILITIES, XATTRS];
    let key = keys.into_iter().find_map(|name| {
        let value = fields.value(name)?;
        Some(Spanned::new(value.span(), name))
    });
    FileAttributes {
        key: key.filter(|_| !all.is_empty()),
        all,
    }
}

/// Refuses capabilities of a `text`: the kernel takes none from a script, and no other text can
/// run.
pub(super) fn refuse_of_text(fields: &Fields) {
    let Some(value) = fields.value(CAPABILITIES) else {
        return;
    };
    let message = "a `text` can't have `capabilities`: the kernel ignores those of scripts";
    let problem = fields.reader.problem(value.span(), message);
    let help = "drop `capabilities`, or give them to the program that runs";
    fields.reader.report(problem.help(help));
}

fn read_capabilities(fields: &Fields) -> Option<Capabilities> {
    let names = fields.strings(CAPABILITIES)?;
    report_repeated(fields, CAPABILITIES, &names);
    let known: Vec<&str> = names
        .iter()
        .filter(|name| is_known(fields, name))
        .map(|name| name.get_ref().as_str())
        .collect();
    Capabilities::named(known.iter().copied()).filter(|_| !known.is_empty())
}

fn is_known(fields: &Fields, name: &Spanned<String>) -> bool {
    let written = name.get_ref().as_str();
    if CAPABILITY_NAMES.contains(&written) {
        return true;
    }
    // Engines and Kubernetes write NET_BIND_SERVICE.
    let short = written.to_ascii_lowercase();
    let full = match short.starts_with("cap_") {
        true => short,
        false => format!("cap_{short}"),
    };
    let help = match nearest(&full, CAPABILITY_NAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "capabilities(7) lists all {}, such as `cap_net_bind_service`",
            CAPABILITY_NAMES.len()
        ),
    };
    let message = format!("there is no capability `{written}`");
    let problem = fields.reader.problem(name.span(), message);
    fields.reader.report(problem.help(help));
    false
}

fn read_xattrs(fields: &Fields) -> BTreeMap<String, Vec<u8>> {
    let entries = fields.map(XATTRS).unwrap_or_default();
    let read = |(name, text): (Spanned<String>, Spanned<String>)| {
        if name.get_ref() == CAPABILITY_ATTRIBUTE {
            let message = format!("`{CAPABILITY_ATTRIBUTE}` is what `capabilities` sets");
            let problem = fields.reader.problem(name.span(), message);
            let help = "write `capabilities = [\"cap_net_bind_service\"]`";
            fields.reader.report(problem.help(help));
            return None;
        }
        let value = accept(fields.reader, &text, attribute_value(text.get_ref()))?;
        accept(
            fields.reader,
            &name,
            check_attribute(name.get_ref(), &value),
        )?;
        Some((name.into_inner(), value))
    };
    entries.into_iter().filter_map(read).collect()
}
