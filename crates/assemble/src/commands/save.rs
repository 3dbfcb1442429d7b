//! `assemble save`: writes an image as one tar file.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_image::archive::{self, ArchiveFormat, Selection};
use crateyard_oci::{ImageName, Layout, Platform};
use crateyard_terminal::{print, print_json, regular};
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
    // Before the image is built or fetched.
    let out = match to_stdout {
        true => args.out.clone(),
        false => regular(&args.out)?,
    };
    let place = Place::find_current(&args.image, &args.place.workspace)?;
    if let (Place::Path(source), false) = (&place, to_stdout) {
        refuse_source(&out, source)?;
    }
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
    archive::save(&local.layout, &selection, &out)?;
    let size = std::fs::metadata(&out).map(|file| file.len());
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

/// Refuses to write to the archive that is read, or inside the layout that is read: the file could
/// take the place of the index or a blob.
fn refuse_source(out: &Path, source: &Path) -> Result<()> {
    let real = |path: &Path| {
        let real = std::fs::canonicalize(path);
        real.with_context(|| format!("cannot find {}", path.display()))
    };
    if !source.is_dir() {
        if out.exists() && real(out)? == real(source)? {
            bail!(
                "--out {}: it is the archive that is read\n  try: another file",
                out.display()
            );
        }
        return Ok(());
    }
    let directory = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if real(directory)?.starts_with(real(source)?) {
        bail!(
            "--out {}: it lies in the layout {}, which is read\n  try: a file outside of it",
            out.display(),
            source.display()
        );
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use crateyard_terminal::write_to;

    use super::*;

    #[test]
    fn no_file_of_the_layout_that_is_read_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("layout/blobs/sha256")).unwrap();
        fs::write(at("a.tar"), "").unwrap();
        symlink("layout/blobs", at("link")).unwrap();
        for out in [
            "layout/index.json",
            "layout/blobs/sha256/00",
            "link/sha256/00",
        ] {
            let error = refuse_source(&at(out), &at("layout")).unwrap_err();
            assert!(error.to_string().contains("lies in the layout"), "{error}");
            refuse_source(&at(out), &at("a.tar")).unwrap();
        }
        refuse_source(&at("layout.tar"), &at("layout")).unwrap();
        refuse_source(Path::new("layout.tar"), &at("layout")).unwrap();
    }

    #[test]
    fn the_archive_that_is_read_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("a.tar"), "").unwrap();
        symlink("a.tar", at("link.tar")).unwrap();
        fs::hard_link(at("a.tar"), at("other.tar")).unwrap();
        for out in ["a.tar", "link.tar"] {
            let error = refuse_source(&at(out), &at("a.tar")).unwrap_err();
            assert!(
                error.to_string().contains("the archive that is read"),
                "{error}"
            );
        }
        // Another name keeps the old content, because a new file takes its place.
        refuse_source(&at("other.tar"), &at("a.tar")).unwrap();
        refuse_source(&at("new.tar"), &at("a.tar")).unwrap();
    }

    #[test]
    fn a_file_takes_the_place_of_a_regular_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, other] = ["a", "b", "c"].map(|name| directory.path().join(name));
        write_to(&file, "1").unwrap();
        symlink("a", &link).unwrap();
        write_to(&link, "2").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "2");
        assert!(link.is_symlink());

        let socket = UnixListener::bind(&other).unwrap();
        for place in [&other, Path::new("/dev/null"), directory.path()] {
            regular(place).unwrap_err();
        }
        let error = write_to(&other, "3").unwrap_err().to_string();
        assert!(error.contains("it is not a regular file"), "{error}");
        UnixListener::bind(&other).unwrap_err();
        drop(socket);

        fs::remove_file(&file).unwrap();
        write_to(&link, "4").unwrap_err();
        assert!(link.is_symlink());
    }
}
