//! `image`: the program that the Nix side calls to make layers, images, indexes and archives.

mod cell;
mod environment;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use crateyard_image::archive::{self, ArchiveFormat, Selection};
use crateyard_image::{base, compress, layer, layout, multi, spec};
use crateyard_oci::{ImageName, Layout, Platform};

/// Makes layers, OCI images, multi-platform indexes and image archives: the same bytes on every
/// machine.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make one layer: DIR/blob, DIR/layer.json and DIR/entries.json
    Layer {
        /// The layer specification, in JSON: a file, or @NAME for an attribute of the derivation
        spec: String,
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How many threads compress; the bytes do not depend on it [default: NIX_BUILD_CORES, or
        /// all cores]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Where the files lie over which a step runs; a directory in memory, so that directories
        /// list their files in one order
        #[arg(long, value_name = "DIR", default_value = "/tmp")]
        workplace: PathBuf,
    },
    /// Make the OCI image layout of an image from its layers
    Layout {
        /// The image specification, in JSON: a file, or @NAME for an attribute of the derivation
        spec: String,
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Take an image out of a layout that has several
    Base {
        /// The layout and the image's digest, in JSON: a file, or @NAME for an attribute of the
        /// derivation
        spec: String,
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Join layouts of several platforms into one
    Index {
        /// The index specification, in JSON: a file, or @NAME for an attribute of the derivation
        spec: String,
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Write a layout as one tar file
    Archive {
        /// The layout: a directory, or an archive to convert
        layout: PathBuf,
        /// What kind of archive
        #[arg(long, value_parser = archive::formats())]
        format: ArchiveFormat,
        /// The name the image gets, such as gateway:0.1.0; may be repeated
        #[arg(long = "reference", value_name = "NAME:TAG")]
        references: Vec<ImageName>,
        /// The platform to take, of a layout that has several
        #[arg(long, value_name = "OS/ARCHITECTURE")]
        platform: Option<Platform>,
        /// The time of the entries, in seconds since 1970
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        epoch: u64,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make the namespaces of a step, and begin it there
    #[command(hide = true)]
    Enter {
        /// The command, in JSON
        command: String,
    },
    /// Make the root of a step, and run its command there
    #[command(hide = true)]
    Begin {
        /// The command, in JSON
        command: String,
    },
}

fn main() -> ExitCode {
    let started_as = std::env::args_os().next().map(PathBuf::from);
    let name = started_as.as_deref().and_then(Path::file_name);
    let done = if name.is_some_and(|name| name == environment::BUILDER) {
        environment::write()
    } else {
        match Arguments::parse().command {
            Command::Enter { command } => return cell::enter(&command),
            Command::Begin { command } => return cell::begin(&command),
            command => run(command),
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Layer {
            spec,
            out,
            threads,
            workplace,
        } => make_layer(&spec::locate(&spec)?, &out, threads, workplace),
        Command::Layout { spec, out } => {
            let parsed = spec::read(&spec::locate(&spec)?)?;
            let manifest = layout::make(&parsed, &out)
                .with_context(|| format!("cannot make the image {:?}", parsed.name))?;
            println!("{} {}", manifest.digest, out.display());
            Ok(())
        }
        Command::Base { spec, out } => {
            let parsed = spec::read(&spec::locate(&spec)?)?;
            let made = base::make(&parsed, &out);
            let image = made.context("cannot take the base out of its layout")?;
            println!("{} {}", image.digest, out.display());
            Ok(())
        }
        Command::Index { spec, out } => {
            let parsed = spec::read(&spec::locate(&spec)?)?;
            let index = multi::make(&parsed, &out)
                .with_context(|| format!("cannot make the index {:?}", parsed.name))?;
            println!("{} {}", index.digest, out.display());
            Ok(())
        }
        Command::Archive {
            layout,
            format,
            references,
            platform,
            epoch,
            out,
        } => {
            let selection = Selection {
                format,
                references,
                platform,
                epoch,
                documents: true,
            };
            archive::save(&Layout::open(&layout)?, &selection, &out)?;
            println!("{}", out.display());
            Ok(())
        }
        Command::Enter { .. } | Command::Begin { .. } => Ok(()),
    }
}

fn make_layer(
    spec: &Path,
    out: &Path,
    threads: Option<usize>,
    workplace: PathBuf,
) -> anyhow::Result<()> {
    let runner = cell::Cells { workplace };
    let parsed: spec::LayerSpec = spec::read(spec)?;
    let threads = threads.unwrap_or_else(compress::default_threads);
    let record = layer::make_with(&parsed, out, threads, Some(&runner))
        .with_context(|| format!("cannot make the layer {:?}", parsed.comment))?;
    println!("{} {}", record.digest, out.display());
    Ok(())
}
