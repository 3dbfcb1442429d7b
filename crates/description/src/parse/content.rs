//! Reads the contents of images: files, directories, links, charts, other images.

use crateyard_spec::{ArchiveFormat, Mode};
use toml::Spanned;
use toml::de::DeValue;

use super::field::{accept, choice, file_path, required_path, trim_slash};
use super::{attributes, parts};
use crate::model::*;
use crate::reader::Fields;
use crate::value;

pub(super) fn read_file(fields: &Fields) -> Option<File> {
    let path = required_path(fields, "path");
    let mode = read_mode(fields);
    let owner = read_owner(fields);
    let attributes = attributes::read(fields);
    let content = read_content(fields)?;
    let path = match content.get_ref() {
        Content::Text(_) => {
            attributes::refuse_of_text(fields);
            file_path(fields.reader, path?)
        }
        Content::Source(_) | Content::Part { .. } => path?,
    };
    Some(File {
        path,
        content,
        mode,
        owner,
        replace: read_replace(fields),
        attributes,
    })
}

fn read_content(fields: &Fields) -> Option<Spanned<Content>> {
    let names = ["source", "text", "part"];
    let given = names.iter().filter(|name| fields.value(name).is_some());
    let given: Vec<&str> = given.copied().collect();
    let reader = fields.reader;
    let &[name] = given.as_slice() else {
        let (span, has) = match given.get(1) {
            Some(second) => (
                fields.value(second).map_or(fields.span(), Spanned::span),
                "several",
            ),
            None => (fields.span(), "none"),
        };
        let what = format!("a file has a `source`, a `text` or a `part`, this has {has}");
        let help = match given.is_empty() {
            true => "add `source = \"path/in/the/workspace\"`, `text = \"…\"` or `part = \"…\"`",
            false => "keep one of them",
        };
        reader.report(reader.problem(span, what).help(help));
        return None;
    };
    let from = parts::read_from(fields, name == "part");
    let text = fields.string(name)?;
    let content = match name {
        "source" => Content::Source(accept(
            reader,
            &text,
            value::workspace_path(text.get_ref()),
        )?),
        "part" => {
            accept(reader, &text, value::part_name(text.get_ref()))?;
            let name = text.get_ref().clone();
            Content::Part { name, from }
        }
        _ => Content::Text(text.get_ref().clone()),
    };
    Some(Spanned::new(text.span(), content))
}

pub(super) fn read_owner(fields: &Fields) -> Owner {
    Owner {
        user: fields.string("user"),
        group: fields.string("group"),
    }
}

pub(super) fn read_replace(fields: &Fields) -> bool {
    fields.boolean("replace").unwrap_or(false)
}

pub(super) fn read_mode(fields: &Fields) -> Option<Mode> {
    let value = fields.value("mode")?;
    if let DeValue::Integer(digits) = value.get_ref() {
        let problem = fields
            .reader
            .problem(value.span(), "`mode` must be a string, this is an integer");
        let help = format!("write \"{:0>4}\"", digits.as_str());
        fields.reader.report(problem.help(help));
        return None;
    }
    let text = fields.string("mode")?;
    accept(fields.reader, &text, value::mode(text.get_ref()))
}

pub(super) fn read_directory(fields: &Fields) -> Option<Directory> {
    let mode = read_mode(fields).unwrap_or(Mode(0o755));
    let owner = read_owner(fields);
    let path = required_path(fields, "path")?;
    let path = Spanned::new(path.span(), trim_slash(path.get_ref()));
    Some(Directory { path, mode, owner })
}

pub(super) fn read_link(fields: &Fields) -> Option<Link> {
    let target = fields.required("target", printable(fields, "target"), "\"…\"");
    let path = required_path(fields, "path").map(|path| file_path(fields.reader, path));
    Some(Link {
        path: path?,
        target: target?.into_inner(),
        replace: read_replace(fields),
    })
}

/// Reads a string, and reports a control character in it.
fn printable(fields: &Fields, name: &str) -> Option<Spanned<String>> {
    let text = fields.string(name)?;
    let verdict = value::no_control_character(text.get_ref());
    accept(fields.reader, &text, verdict);
    Some(text)
}

pub(super) fn read_chart(fields: &Fields) -> Option<Chart> {
    let source = fields.required("source", fields.string("source"), "\"path/to/chart\"");
    let path = required_path(fields, "path");
    let source = source?;
    let clean = accept(
        fields.reader,
        &source,
        value::workspace_path(source.get_ref()),
    )?;
    Some(Chart {
        source: Spanned::new(source.span(), clean),
        path: path?,
    })
}

pub(super) fn read_bundled(fields: &Fields) -> Option<Bundled> {
    let image = fields.required("image", fields.string("image"), "\"…\"");
    let path = required_path(fields, "path").map(|path| file_path(fields.reader, path));
    // There is only one format; anything else is refused.
    choice(fields, "format", &["oci"]);
    let reference = printable(fields, "reference").map(Spanned::into_inner);
    Some(Bundled {
        image: image?,
        path: path?,
        format: ArchiveFormat::Oci,
        reference,
    })
}
