//! Finds images in Quadlet units: `Image=` in `.container` and other files that podman's systemd
//! generator reads.
//! <https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html>

use super::find::{Found, MAX_PLACES, Names, Part, Place, expect_few};
use super::position::Positions;
use super::{Error, Position, mention};

/// The key that names an image.
const KEY: &str = "Image";

/// Finds the images that a unit names.
///
/// # Errors
/// When the unit names an image that does not exist, or too many.
pub(super) fn find(text: &str, names: &Names) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut positions = Positions::of(text);
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let is_comment = line.trim_start().starts_with(['#', ';']);
        if !is_comment {
            found.extend(in_line(line, start, found.len(), names, &mut positions)?);
        }
        start += line.len();
    }
    Ok(found)
}

/// Finds the images that a line names. `start` is the line's first byte in the text, and
/// `known` the number of images before it.
fn in_line(
    line: &str,
    start: usize,
    known: usize,
    names: &Names,
    positions: &mut Positions<'_>,
) -> Result<Vec<Found>, Error> {
    let mentions = mention::all(line);
    if known + mentions.len().max(1) > MAX_PLACES {
        expect_few(MAX_PLACES, positions.at(start))?;
    }
    let mut place = |range: std::ops::Range<usize>,
                     image: &dyn Fn(Position) -> Result<String, Error>| {
        let range = start + range.start..start + range.end;
        let position = positions.at(range.start);
        Ok(Found {
            image: image(position)?,
            position,
            places: vec![Place {
                range,
                position,
                part: Part::Whole,
                around: "",
            }],
        })
    };
    if mentions.is_empty() {
        let Some((key, value)) = line.split_once('=') else {
            return Ok(Vec::new());
        };
        let word = value.trim();
        let Some(image) = (key.trim() == KEY).then(|| names.mapped(word)).flatten() else {
            return Ok(Vec::new());
        };
        let at = line.len() - value.trim_start().len();
        let found = place(at..at + word.len(), &|_| Ok(image.clone()))?;
        return Ok(vec![found]);
    }
    let mentions = mentions.into_iter();
    mentions
        .map(|one| place(one.range, &|position| names.known(&one.image, position)))
        .collect()
}
