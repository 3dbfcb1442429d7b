//! `assemble save`: writes an image as one tar file.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_image::archive::{self, ArchiveFormat, Selection};
use crateyard_oci::{ImageName, Layout, Platform};
use crateyard_terminal::{print, print_json};
use serde::Serialize;

use crate::connection::bytes;
use crate::image_argument::{Place, PlaceArgs};

const EXAMPLES: &str = "\
Examples:
  assemble save gateway --out gateway.tar
  assemble save ./layout --format docker --reference gateway:v1 --out - \\
      | docker load
  assemble save registry.example/gateway:v1 --platform linux/arm64 --out a.tar";

/// Write an image as an OCI or docker archive
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's
    /// reference
    ///
    /// An image of images.toml is built first.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The format of the archive
    #[arg(long, value_parser = archive::formats(), default_value = "oci")]
    format: ArchiveFormat,

    /// The file to write; - for standard output
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,

    /// A name for the image instead of its own; may be repeated
    #[arg(long = "reference", value_name = "NAME:TAG")]
    references: Vec<ImageName>,

    /// The platform to save, if the image has several
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,

    /// Print the written archive as JSON; not with --out -
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// The command's JSON output.
#[derive(Serialize)]
struct Saved<'a> {
    path: &'a Path,
    format: ArchiveFormat,
    size: u64,
}

/// Runs the command.
///
/// # Errors
/// When the image can't be found or read, or the file can't be written.
pub fn run(args: Args) -> Result<()> {
    let to_stdout = args.out == Path::new("-");
    if to_stdout && args.json {
        bail!("--json with --out -: the archive itself goes to standard output\n  try: --out FILE");
    }
    if to_stdout && io::stdout().is_terminal() {
        bail!("--out -: standard output is a terminal\n  try: --out FILE, or a pipe behind it");
    }
    let place = Place::find_current(&args.image, &args.place.workspace)?;
    let local = place.open_layout(&args.place.connection, args.platform.as_ref())?;
    let references = match args.references.is_empty() {
        // Only docker's format needs full names. An OCI archive has the names in its index.
        true if args.format == ArchiveFormat::Docker => local.full_names()?,
        _ => args.references.clone(),
    };
    let selection = Selection {
        format: args.format,
        references,
        platform: args.platform.clone(),
        epoch: 0,
        documents: true,
    };
    if to_stdout {
        return write_to_stdout(&local.layout, &selection);
    }
    archive::save(&local.layout, &selection, &args.out)?;
    let size = std::fs::metadata(&args.out).map(|file| file.len());
    let size = size.with_context(|| format!("cannot look at {}", args.out.display()))?;
    if args.json {
        return print_json(&Saved {
            path: &args.out,
            format: args.format,
            size,
        });
    }
    print(&format!("{}  {}\n", args.out.display(), bytes(size)))
}

fn write_to_stdout(layout: &Layout, selection: &Selection) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    archive::write(layout, selection, &mut out)?;
    match out.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            bail!("standard output was closed before the archive was whole")
        }
        result => result.context("cannot write to standard output"),
    }
}
