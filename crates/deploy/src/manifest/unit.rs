//! Finds images in Quadlet units: `Image=` in `.container` and other files that podman's systemd
//! generator reads.
//! <https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html>

use super::find::{Found, Names, Part, Place, position_of};
use super::{Error, mention};

/// The key that names an image.
const KEY: &str = "Image";

/// Finds the images that a unit names.
///
/// # Errors
/// When the unit names an image that does not exist.
pub(super) fn find(text: &str, names: &Names) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let is_comment = line.trim_start().starts_with(['#', ';']);
        if !is_comment {
            found.extend(in_line(text, line, start, names)?);
        }
        start += line.len();
    }
    Ok(found)
}

fn in_line(text: &str, line: &str, start: usize, names: &Names) -> Result<Vec<Found>, Error> {
    let place = |range: std::ops::Range<usize>, image: String| {
        let range = start + range.start..start + range.end;
        let position = position_of(text, range.start);
        Found {
            image,
            position,
            places: vec![Place {
                range,
                position,
                part: Part::Whole,
                around: "",
            }],
        }
    };
    let mentions = mention::all(line);
    if mentions.is_empty() {
        let Some((key, value)) = line.split_once('=') else {
            return Ok(Vec::new());
        };
        let word = value.trim();
        let image = (key.trim() == KEY).then(|| names.mapped(word)).flatten();
        let at = line.len() - value.trim_start().len();
        let found = image.map(|image| place(at..at + word.len(), image));
        return Ok(found.into_iter().collect());
    }
    let mut found = Vec::new();
    for one in mentions {
        let position = position_of(text, start + one.range.start);
        let image = names.known(&one.image, position)?;
        found.push(place(one.range, image));
    }
    Ok(found)
}
