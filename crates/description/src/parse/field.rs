//! Reads fields of forms that several tables share.

use toml::Spanned;

use crate::problem::suggestion;
use crate::reader::{Fields, Reader};
use crate::{schema, value};

/// Reads each element of an array of tables with `read`.
pub(super) fn tables<T>(
    fields: &Fields,
    name: &str,
    schema: &'static schema::Table,
    read: impl Fn(&Fields) -> Option<T>,
) -> Option<Vec<T>> {
    let elements = fields.elements(name, "an array of tables")?;
    let place = format!("an element of {}", fields.place_of(name));
    Some(
        elements
            .into_iter()
            .filter_map(|element| read(&fields.reader.table(element, schema, &place)?))
            .collect(),
    )
}

/// Reads a string that must be one of `choices`.
pub(super) fn choice(fields: &Fields, name: &str, choices: &[&str]) -> Option<String> {
    let text = fields.string(name)?;
    if !choices.contains(&text.get_ref().as_str()) {
        let what = format!(
            "`{}` is not a possible {}",
            text.get_ref(),
            fields.place_of(name)
        );
        let help = suggestion(text.get_ref(), "possible ones", choices.iter().copied());
        fields
            .reader
            .report(fields.reader.problem(text.span(), what).help(help));
        return None;
    }
    Some(text.into_inner())
}

/// Reads an integer that must be in `range`.
pub(super) fn positive(
    fields: &Fields,
    name: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Option<u32> {
    let number = fields.integer(name)?;
    let fits = range.contains(number.get_ref());
    if !fits {
        let what = format!(
            "{} is not a possible {}",
            number.get_ref(),
            fields.place_of(name)
        );
        let help = format!("it goes from {} to {}", range.start(), range.end());
        fields
            .reader
            .report(fields.reader.problem(number.span(), what).help(help));
    }
    u32::try_from(number.into_inner()).ok().filter(|_| fits)
}

/// Reads strings, and reports those that `verdict` refuses or that are repeated.
pub(super) fn checked(
    fields: &Fields,
    name: &str,
    verdict: impl Fn(&str) -> Result<(), String>,
) -> Option<Vec<String>> {
    let texts = fields.strings(name)?;
    for text in &texts {
        accept(fields.reader, text, verdict(text.get_ref()));
    }
    report_repeated(fields, name, &texts);
    Some(plain(texts))
}

pub(super) fn report_repeated(fields: &Fields, name: &str, texts: &[Spanned<String>]) {
    for (index, text) in texts.iter().enumerate() {
        let earlier = texts[..index]
            .iter()
            .find(|other| other.get_ref() == text.get_ref());
        if let Some(earlier) = earlier {
            let what = format!("{} names `{}` twice", fields.place_of(name), text.get_ref());
            let problem = fields.reader.problem(text.span(), what);
            let problem = problem.note_at(fields.reader.source, earlier.span(), "first named");
            fields.reader.report(problem.help("drop one of them"));
        }
    }
}

pub(super) fn packages(fields: &Fields, name: &str) -> Option<Vec<String>> {
    checked(fields, name, value::package)
}

pub(super) fn packages_or_none(fields: &Fields, name: &str) -> Vec<String> {
    packages(fields, name).unwrap_or_default()
}

pub(super) fn required_path(fields: &Fields, name: &str) -> Option<Spanned<String>> {
    let path = fields.required(name, fields.string(name), "\"/…\"")?;
    Some(image_path(fields.reader, path))
}

/// Reports a path that is impossible in an image, and returns it unchanged, so that other problems
/// are found too.
pub(super) fn image_path(reader: &Reader, path: Spanned<String>) -> Spanned<String> {
    accept(reader, &path, value::image_path(path.get_ref()));
    path
}

/// Reports a path that names a directory instead of the file itself.
pub(super) fn file_path(reader: &Reader, path: Spanned<String>) -> Spanned<String> {
    if path.get_ref().ends_with('/') {
        let problem = reader.problem(
            path.span(),
            format!("`{}` names a directory", path.get_ref()),
        );
        reader.report(problem.help("give the whole path, the name of the file included"));
    }
    path
}

pub(super) fn trim_slash(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_string(),
        trimmed => trimmed.to_string(),
    }
}

/// Returns the value of `verdict`; if it is an error, reports a problem that quotes `text`.
pub(super) fn accept<T>(
    reader: &Reader,
    text: &Spanned<String>,
    verdict: Result<T, String>,
) -> Option<T> {
    match verdict {
        Ok(value) => Some(value),
        Err(wrong) => {
            reader.report(reader.problem(text.span(), format!("`{}` {wrong}", text.get_ref())));
            None
        }
    }
}

pub(super) fn plain(texts: Vec<Spanned<String>>) -> Vec<String> {
    texts.into_iter().map(Spanned::into_inner).collect()
}
