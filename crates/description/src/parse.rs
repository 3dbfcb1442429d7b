//! Parses the text of an `images.toml` into a [`Description`], and checks the type and form of
//! every field.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::field::{accept, checked, choice, image_path, plain, positive, report_repeated, tables};
use self::image::{read_images, read_map};
use self::settings::{read_build, read_crate, read_debian, read_toolchain, read_user};
use crate::model::*;
use crate::problem::{Problem, Problems, Source};
use crate::reader::{Fields, Reader};
use crate::{check, dialect, schema};

mod archives;
mod attributes;
mod content;
mod downloads;
mod field;
mod image;
mod npm;
mod own_downloads;
mod parts;
mod settings;
mod steps;

pub(crate) use self::settings::built_in_users;

/// The version of the file's form that this crate reads.
const VERSION: i64 = 1;

impl Description {
    /// Reads `text`; messages call it `path`.
    ///
    /// # Errors
    /// Lists all errors that the text shows by itself: its syntax, unknown keys, wrong types and
    /// forms, references to users, sets and images that it does not have, two things at one path.
    /// [`Description::normalize`] makes the checks that need the workspace's packages or files.
    pub fn parse(text: &str, path: &str) -> Result<Description, Problems> {
        let source = Source::new(path, text);
        let (document, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            return Err(Problems::new(syntax_problems(&source, &syntax)));
        }
        let reader = Reader::new(&source);
        check_version(&reader, document.get_ref())?;
        let top = reader.fields(document.get_ref(), 0..0, &schema::TOP, "images.toml");
        let description = read(&top, &source);
        let mut problems = reader.into_problems();
        problems.extend(dialect::problems(&source, document.get_ref()));
        problems.extend(check::references(&description));
        Problems::or(problems, description)
    }
}

/// The parser's message for a key, and for a table, that is there twice.
const DUPLICATE: &str = "duplicate key";

fn syntax_problems(source: &Source, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems = Vec::new();
    // The table that is there for the second time. Its keys are read into the first one, so those
    // of both seem to be there twice, too.
    let mut doubled = 0..0;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let is_duplicate = error.message() == DUPLICATE;
        if is_duplicate && doubled.contains(&span.start) {
            continue;
        }
        problems.push(match header_at(source.text(), span.start) {
            Some(header) if is_duplicate => {
                doubled = body_at(source.text(), span.start);
                doubled_table(source, span, header)
            }
            _ => source.problem(span, error.message()),
        });
    }
    problems
}

/// Describes a table that is there twice.
fn doubled_table(source: &Source, span: Range<usize>, header: &str) -> Problem {
    let before = &source.text()[..span.start];
    let mut found = before.match_indices(header).map(|(at, _)| at);
    let first = found.find(|&at| header_at(before, at) == Some(header));
    let problem = source.problem(span, format!("the table {header} is there twice"));
    let problem = match first {
        Some(at) => problem.note_at(source, at..at, "the first one is"),
        None => problem,
    };
    problem.help("write the keys of both below one, or give this one another name")
}

/// Returns the header of a table in the line around a place, such as `[images.api]`.
fn header_at(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next()?.trim_start();
    let is_header = line.starts_with('[') && !line.starts_with("[[");
    let end = line.find(']').filter(|_| is_header)?;
    Some(&line[..=end])
}

/// Returns the place of the keys of the table whose header is around a place.
fn body_at(text: &str, at: usize) -> Range<usize> {
    let start = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let end = text[start..]
        .find("\n[")
        .map_or(text.len(), |end| start + end);
    start..end
}

fn read(top: &Fields, source: &Source) -> Description {
    top.required("version", top.value("version"), "1");
    let toolchain = read_toolchain(top);
    let debian = top
        .value("debian")
        .and_then(|value| read_debian(top.reader, value))
        .unwrap_or_default();
    let (npm_parts, mut downloads) = parts::read(top);
    let crates = named(top, "crates", "crates", read_crate);
    let images = read_images(top);
    let of_crates = crates.iter().flat_map(|each| each.downloads.clone());
    downloads.extend(of_crates);
    let of_images = images.values();
    let of_images = of_images.flat_map(|image| image.fields.downloads.iter().flatten());
    downloads.extend(of_images.map(|it| (it.name.clone(), it.part.clone())));
    Description {
        source: source.clone(),
        debian: debian
            .with_toolchain(&toolchain)
            .with_lints(&toolchain.set)
            .with_npm(!npm_parts.is_empty()),
        build: read_build(top),
        toolchain,
        crates,
        npm_parts,
        downloads,
        users: named(top, "users", "users", read_user),
        images,
    }
}

/// Refuses a file of another version: nothing else can be said of it.
fn check_version(reader: &Reader, document: &DeTable) -> Result<(), Problems> {
    let Some(value) = document.get("version") else {
        return Ok(());
    };
    match reader.integer(value, "`version`") {
        Some(version) if *version.get_ref() != VERSION => {
            let message = format!("version {} is not known", version.get_ref());
            let problem = reader.problem(version.span(), message);
            let help = format!("this program reads version {VERSION}");
            Err(Problems::new(vec![problem.help(help)]))
        }
        _ => Ok(()),
    }
}

/// Reads each table of a table of tables with `read`.
fn named<T>(
    top: &Fields,
    field: &str,
    place: &str,
    read: impl Fn(&Reader, Spanned<String>, &Spanned<DeValue>, &str) -> Option<T>,
) -> Vec<T> {
    let Some(value) = top.value(field) else {
        return Vec::new();
    };
    let entries = top.reader.named(value, &format!("`{field}`"));
    entries
        .into_iter()
        .filter_map(|(name, value)| {
            let place = format!("[{place}.{}]", name.get_ref());
            read(top.reader, name, value, &place)
        })
        .collect()
}
