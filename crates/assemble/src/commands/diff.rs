//! `assemble diff`: shows the changes between two images.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use crateyard_image::diff::{ImageDiff, Side, compare};
use crateyard_image::packages::Crate;
use crateyard_oci::{Budget, Platform};
use crateyard_terminal::{print, print_json};

use crate::changes::describe;
use crate::image_argument::{Opened, Place, PlaceArgs, Selected};

const EXAMPLES: &str = "\
Examples:
  assemble diff registry.example/team/gateway:v1 gateway
  assemble diff old.tar new.tar --exit-code --json

Exit codes: 0, or with --exit-code 1 if the images differ; 1 for errors, and as `assemble push` \
for errors of a registry.";

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
