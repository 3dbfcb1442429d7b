//! `assemble diff`: shows the changes between two images.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use crateyard_image::diff::{Change, FileChange, ImageDiff, LayerChange, Side, compare};
use crateyard_image::packages::Crate;
use crateyard_oci::{Budget, Digest, Platform};
use crateyard_terminal::{clean, count, print, print_json, sign, table};

use crate::commands::ls::mode;
use crate::connection::bytes;
use crate::place::{Opened, Place, PlaceArgs, Selected};

const EXAMPLES: &str = "\
Examples:
  assemble diff registry.example/team/gateway:v1 gateway
  assemble diff old.tar new.tar --exit-code --json

Exit codes: 0, or with --exit-code 1 where the images differ; 1 also for errors, and those of push for
errors of a registry.";

/// Show the changes between two images: configuration, layers, packages, crates, files
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The old image: its name in images.toml, a path, or a registry's reference
    #[arg(value_name = "BEFORE")]
    before: String,

    /// The new image
    #[arg(value_name = "AFTER")]
    after: String,

    /// The name of the image in BEFORE, if that holds several
    #[arg(long, value_name = "NAME")]
    before_name: Option<String>,

    /// The name of the image in AFTER, if that holds several
    #[arg(long, value_name = "NAME")]
    after_name: Option<String>,

    /// The platform, if the images have several
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,

    /// Exit with 1 if the images differ
    #[arg(long)]
    exit_code: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs the command.
///
/// # Errors
/// When an image can't be found or read.
pub fn run(args: Args) -> Result<ExitCode> {
    // Both images share one budget.
    let budget: Arc<Budget> = Arc::default();
    let open = |argument: &str, name: &Option<String>| -> Result<(Opened, Selected)> {
        let place = Place::find(argument, &args.place.workspace)?;
        let opened = place.open_within(&args.place.connection, Arc::clone(&budget))?;
        let selected = opened.select(name.as_deref(), args.platform.as_ref())?;
        Ok((opened, selected))
    };
    let (before, old) = open(&args.before, &args.before_name)?;
    let (after, new) = open(&args.after, &args.after_name)?;
    let is_same = old.image.descriptor.digest == new.image.descriptor.digest;
    let mut difference = ImageDiff {
        layers_in_common: old.manifest.layers.len(),
        ..ImageDiff::default()
    };
    if !is_same {
        let (old_crates, new_crates) = (before.crates(&old)?, after.crates(&new)?);
        let compared = compare(
            side(&before, &old, &old_crates),
            side(&after, &new, &new_crates),
        );
        before.checked(Ok::<_, crateyard_image::Error>(()))?;
        difference = after.checked(compared)?;
    }
    if args.json {
        print_json(&difference)?;
    } else {
        print(&describe(&difference, is_same))?;
    }
    Ok(match args.exit_code && !is_same {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn side<'a>(
    opened: &'a Opened,
    selected: &'a Selected,
    crates: &'a BTreeMap<String, Vec<Crate>>,
) -> Side<'a> {
    Side {
        blobs: opened.blobs(),
        manifest: &selected.manifest,
        config: &selected.config,
        crates,
    }
}

/// Formats the changes for people.
pub fn describe(difference: &ImageDiff, is_same: bool) -> String {
    if is_same {
        return "no difference: both have the same digest\n".to_owned();
    }
    if difference.is_empty() && difference.files_with_other_time == 0 {
        return "the images differ in digest, not in what they hold\n".to_owned();
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
        Some(file) if change.differs.is_empty() => mode(file),
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
