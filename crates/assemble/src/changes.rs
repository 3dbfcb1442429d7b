//! The changes between two images, as text.

use crateyard_image::diff::{Change, FileChange, ImageDiff, LayerChange};
use crateyard_oci::Digest;
use crateyard_terminal::{clean, count, sign, table};

use crate::connection::bytes;

/// Formats the changes for people.
pub fn describe(difference: &ImageDiff, is_same: bool) -> String {
    if is_same {
        return "no difference: both have the same digest\n".to_owned();
    }
    if difference.is_empty() && difference.files_with_other_time == 0 {
        return "the images have different digests, but the same files, packages and settings; they \
                differ in compression, or in fields that are not compared\n"
            .to_owned();
    }
    let common = format!("{} in common", difference.layers_in_common);
    let mut text = String::new();
    section(
        &mut text,
        "configuration",
        "",
        change_rows(&difference.config),
        &[],
    );
    let layers = difference.layers.iter().map(layer_row).collect();
    section(&mut text, "layers", &common, layers, &[]);
    section(
        &mut text,
        "Debian packages",
        "",
        change_rows(&difference.packages),
        &[],
    );
    section(
        &mut text,
        "crates",
        "",
        change_rows(&difference.crates),
        &[],
    );
    let mut times = String::new();
    if difference.files_with_other_time > 0 {
        times = format!("{} differ in time only", difference.files_with_other_time);
    }
    let files = difference.files.iter().map(file_row).collect();
    section(&mut text, "files", &times, files, &[2]);
    text
}

/// Adds a heading with the number of changes, and a line for each change.
fn section(text: &mut String, title: &str, note: &str, rows: Vec<Vec<String>>, right: &[usize]) {
    if rows.is_empty() && note.is_empty() {
        return;
    }
    let changes = count(rows.len(), "change");
    let note = match note {
        "" => String::new(),
        note => format!(", {note}"),
    };
    *text += &format!("{title}: {changes}{note}\n");
    *text += &table(&rows, "  ", right);
}

fn change_rows(changes: &[Change]) -> Vec<Vec<String>> {
    let row = |change: &Change| {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let values: Vec<_> = [before, after].into_iter().flatten().map(clean).collect();
        vec![
            sign(before.as_ref(), after.as_ref()),
            clean(&change.name).into_owned(),
            values.join(" -> "),
        ]
    };
    changes.iter().map(row).collect()
}

fn layer_row(change: &LayerChange) -> Vec<String> {
    let show = |(digest, size): &(Digest, u64)| format!("{} {}", digest.short(), bytes(*size));
    let values = [&change.before, &change.after];
    let values: Vec<String> = values.into_iter().flatten().map(show).collect();
    let comment = change.comment.as_deref().unwrap_or("(no comment)");
    vec![
        sign(change.before.as_ref(), change.after.as_ref()),
        clean(comment).into_owned(),
        values.join(" -> "),
    ]
}

fn file_row(change: &FileChange) -> Vec<String> {
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    let size =
        |file: Option<&crateyard_image::files::File>| file.map_or(0, |file| i128::from(file.size));
    let what = match after.or(before) {
        Some(file) if change.differs.is_empty() => file.long_mode(),
        _ => change.differs.join(" "),
    };
    let package = change.package.as_deref().map(clean).unwrap_or_default();
    vec![
        sign(before, after),
        what,
        format!("{:+}", size(after) - size(before)),
        package.into_owned(),
        clean(&format!("/{}", change.path)).into_owned(),
    ]
}
