//! Replaces images in a text with pushed references.

use std::collections::BTreeMap;

use super::find::{Found, Part, Place};
use super::{Edit, Error, Pushed};

/// Returns the edited text, and the replacements in the text's order.
///
/// # Errors
/// When an image is not in `pushed`.
pub(super) fn apply(
    text: &str,
    found: &[Found],
    pushed: &BTreeMap<String, Pushed>,
) -> Result<(String, Vec<Edit>), Error> {
    let mut edits = Vec::new();
    for one in found {
        let image = pushed.get(&one.image).ok_or_else(|| Error {
            position: one.position,
            reason: format!("the image {:?} was not pushed", one.image),
        })?;
        for place in &one.places {
            edits.push(Edit {
                image: one.image.clone(),
                position: place.position,
                range: place.range.clone(),
                before: text[place.range.clone()].to_owned(),
                after: written(place, &value(&place.part, image)),
            });
        }
    }
    edits.sort_by_key(|edit| edit.range.start);
    let mut result = String::with_capacity(text.len() + 64 * edits.len());
    let mut from = 0;
    for edit in &edits {
        result += &text[from..edit.range.start];
        result += &edit.after;
        from = edit.range.end;
    }
    result += &text[from..];
    Ok((result, edits))
}

/// Writes a value in the quotes of the old value. If the old value is missing, puts a space before
/// the new one.
fn written(place: &Place, value: &str) -> String {
    match place.around {
        " " => format!(" {value}"),
        quote => format!("{quote}{value}{quote}"),
    }
}

fn value(part: &Part, image: &Pushed) -> String {
    let repository = &image.repository;
    match part {
        Part::Whole => repository.with_digest(&image.digest).to_string(),
        Part::Repository => repository.to_string(),
        Part::Registry => repository.registry().to_owned(),
        Part::Path => repository.repository().to_owned(),
        Part::Digest => image.digest.to_string(),
        Part::TagWithDigest(tag) => {
            // A tag that was already resolved has a digest.
            let tag = tag.as_deref().unwrap_or(&image.tag);
            let tag = tag.split('@').next().unwrap_or_default();
            format!("{tag}@{}", image.digest)
        }
    }
}
