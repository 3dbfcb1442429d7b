//! `assemble cat`: prints a file of an image.

use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::{Context, Result};
use crateyard_image::files::{Listing, Options};

use crate::image_argument::{ChoiceArgs, Place, PlaceArgs};

const EXAMPLES: &str = "\
Examples:
  assemble cat gateway /etc/os-release
  assemble cat registry.example/team/gateway:v1 /usr/bin/gateway > gateway";

/// Write the content of a file in an image to standard output
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's
    /// reference
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The file; links are followed inside the image
    #[arg(value_name = "PATH")]
    path: String,

    #[command(flatten)]
    choice: ChoiceArgs,

    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs the command.
///
/// # Errors
/// When the image can't be read or has no such file.
pub fn run(args: Args) -> Result<()> {
    let opened = Place::find(&args.image, &args.place.workspace)?.open(&args.place.connection)?;
    let selected = opened.select(args.choice.name.as_deref(), args.choice.platform.as_ref())?;
    let manifest = &selected.manifest;
    let listing = Listing::read(opened.blobs(), manifest, &Options::default());
    let listing = opened.checked(listing)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let copied = listing.copy_content(opened.blobs(), manifest, &args.path, &mut out);
    match copied {
        // A reader, such as head, has read as much as it wants.
        Err(crateyard_image::Error::Oci(crateyard_oci::Error::Io { source, .. }))
            if source.kind() == ErrorKind::BrokenPipe =>
        {
            return Ok(());
        }
        copied => opened.checked(copied)?,
    };
    match out.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
