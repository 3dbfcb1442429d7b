//! Finds the differences between an image and its rebuild: layers, files, and the bytes and
//! metadata of files.

use std::collections::BTreeMap;

use anyhow::Result;
use crateyard_image::diff::{FileChange, ImageDiff, Side, compare};
use crateyard_image::files::{File, Listing, Options};
use crateyard_image::packages::Crate;

use crate::changes;
use crate::image_argument::{Opened, Selected};

/// The number of files that are compared byte by byte, the size limit for such a file in bytes, and
/// the number of bytes that are shown.
const FILES: usize = 20;
const MAX_FILE: u64 = 64 << 20;
const SHOWN: usize = 16;
/// The number of lines that are shown.
const LINES: usize = 200;

type Image<'a> = (&'a Opened, &'a Selected);
type Crates = BTreeMap<String, Vec<Crate>>;

/// Lists the differences, one line each.
///
/// # Errors
/// When a layer is missing or damaged.
pub fn describe(before: Image<'_>, after: Image<'_>) -> Result<Vec<String>> {
    let (old_crates, new_crates) = (before.0.crates(before.1)?, after.0.crates(after.1)?);
    let compared = compare(side(before, &old_crates), side(after, &new_crates));
    let difference = before.0.checked(compared)?;
    let text = changes::describe(&difference, false);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.extend(of_files(&difference, before, after)?);
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        lines.truncate(LINES);
        lines.push(format!("and {more} lines more"));
    }
    Ok(lines)
}

fn side<'a>((opened, selected): Image<'a>, crates: &'a Crates) -> Side<'a> {
    Side {
        blobs: opened.blobs(),
        manifest: &selected.manifest,
        config: &selected.config,
        crates,
    }
}

/// Compares metadata and bytes of the files that both images have.
fn of_files(difference: &ImageDiff, before: Image<'_>, after: Image<'_>) -> Result<Vec<String>> {
    let both = |change: &&FileChange| change.before.is_some() && change.after.is_some();
    let changed: Vec<&FileChange> = difference.files.iter().filter(both).take(FILES).collect();
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let list = |(opened, selected): Image<'_>| {
        let listing = Listing::read(opened.blobs(), &selected.manifest, &Options::default());
        opened.checked(listing)
    };
    let (old, new) = (list(before)?, list(after)?);
    let mut lines = Vec::new();
    for change in changed {
        let (Some(one), Some(other)) = (&change.before, &change.after) else {
            continue;
        };
        let path = &change.path;
        lines.extend(metadata(one, other).map(|what| format!("/{path}: {what}")));
        let is_small = one.size.max(other.size) <= MAX_FILE;
        if change.differs.contains(&"content") && is_small {
            let one = content(before, &old, path)?;
            let other = content(after, &new, path)?;
            lines.push(format!("/{path}: {}", bytes(&one, &other)));
        }
    }
    Ok(lines)
}

fn content((opened, selected): Image<'_>, listing: &Listing, path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let copied = listing.copy_content(opened.blobs(), &selected.manifest, path, &mut bytes);
    opened.checked(copied)?;
    Ok(bytes)
}

fn metadata(one: &File, other: &File) -> impl Iterator<Item = String> {
    let owner = |file: &File| format!("{}:{}", file.uid, file.gid);
    let fields = [
        (
            "mode",
            format!("{:04o}", one.mode),
            format!("{:04o}", other.mode),
        ),
        ("owner", owner(one), owner(other)),
        ("time", one.mtime.to_string(), other.mtime.to_string()),
    ];
    let differs = fields.into_iter().filter(|(_, one, other)| one != other);
    differs.map(|(name, one, other)| format!("{name} {one} -> {other}"))
}

/// Describes the number of bytes that differ, and the first of them.
fn bytes(one: &[u8], other: &[u8]) -> String {
    let longer = one.len().max(other.len());
    let differs = |at: &usize| one.get(*at) != other.get(*at);
    let Some(first) = (0..longer).find(differs) else {
        return "the same bytes".to_owned();
    };
    let count = (first..longer).filter(differs).count();
    let show = |bytes: &[u8]| {
        let shown = bytes.get(first..).unwrap_or_default().iter().take(SHOWN);
        let hex: Vec<String> = shown.map(|byte| format!("{byte:02x}")).collect();
        match hex.is_empty() {
            true => "(end)".to_owned(),
            false => hex.join(" "),
        }
    };
    format!(
        "{count} of {longer} bytes differ, the first at {first}: {} -> {}",
        show(one),
        show(other)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_is_shown() {
        assert_eq!(bytes(b"abc", b"abc"), "the same bytes");
        assert_eq!(
            bytes(b"abcd", b"abXd"),
            "1 of 4 bytes differ, the first at 2: 63 64 -> 58 64"
        );
        assert_eq!(
            bytes(b"ab", b"abc"),
            "1 of 3 bytes differ, the first at 2: (end) -> 63"
        );
    }
}
