//! Makes one layer: sources in, one deterministic compressed tar out.
//!
//! First all sources are gathered into a tree sorted by path, which reveals clashes. Contents that
//! have no file of their own (those of packages) go to an anonymous temporary file. Then the tree
//! is written, compressed and hashed in one pass. Memory holds paths and a few blocks, never a
//! file.

mod chart;
mod debian;
mod documents;
mod elf;
mod forbidden;
mod plain;
mod spool;
mod step;
mod tree;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use crate::archive::{self, Selection};
use crate::compress::{Compressor, layer_media_type};
use crate::output::{self, OutputDir};
use crate::spec::{
    DebianPackage, DebianSource, FormatVersion, ImageArchiveSource, LayerEntries, LayerPackages,
    LayerRecord, LayerSpec, PackageDetails, Source,
};
use crate::{Error, Result};

use crateyard_oci::{ImageName, Layout, digest::HashingWriter, tar};
use forbidden::Forbidden;
use spool::Spool;
use step::Workplace;
use tree::Tree;

pub use step::{NOT_STARTED, Runner, StepCommand};

/// The file with the compressed tar in a layer's directory.
pub const BLOB: &str = "blob";
/// The file with the [`LayerRecord`].
pub const RECORD: &str = "layer.json";
/// The file with the [`LayerEntries`].
pub const ENTRIES: &str = "entries.json";
/// The file with the [`LayerPackages`].
pub const PACKAGES: &str = "packages.json";

/// Makes a layer in the directory `out`: its blob, [`RECORD`] and [`ENTRIES`]. The bytes do not
/// depend on the number of threads.
///
/// # Errors
/// When a source can't be read or is damaged, two sources have the same path, or the disk is full.
/// Nothing is left at `out` then.
pub fn make(spec: &LayerSpec, out: &Path, threads: usize) -> Result<LayerRecord> {
    make_with(spec, out, threads, None)
}

/// Makes a layer like [`make`]. With a runner, a command may make the layer, too.
///
/// # Errors
/// When [`make`] fails, or the command fails or makes a change that can't be in a layer.
pub fn make_with(
    spec: &LayerSpec,
    out: &Path,
    threads: usize,
    runner: Option<&dyn Runner>,
) -> Result<LayerRecord> {
    let mut spool = Spool::new()?;
    let gathered = gather(spec, &mut spool, runner)?;
    let output = OutputDir::create(out)?;
    let record = write(spec, &gathered, &spool, &output, threads)?;
    let entries = LayerEntries {
        version: FormatVersion,
        entries: gathered.tree.records(&spool)?,
    };
    output.write(ENTRIES, &crateyard_oci::to_bytes(&entries)?)?;
    let details = LayerPackages {
        version: FormatVersion,
        packages: gathered.details,
    };
    output.write(PACKAGES, &crateyard_oci::to_bytes(&details)?)?;
    output.finish(RECORD, &crateyard_oci::to_bytes(&record)?)?;
    Ok(record)
}

/// The contents of a layer.
struct Gathered {
    tree: Tree,
    details: Vec<PackageDetails>,
    also_installed: Vec<DebianPackage>,
    /// The directory of the files that a command has changed.
    _workplace: Option<Workplace>,
}

fn gather(spec: &LayerSpec, spool: &mut Spool, runner: Option<&dyn Runner>) -> Result<Gathered> {
    let mut tree = Tree::default();
    let mut workplace = None;
    let mut debian = Vec::new();
    for (number, source) in spec.sources.iter().enumerate() {
        let at = format!("sources[{number}]");
        match source {
            Source::Debian(source) => debian.push((at, source)),
            Source::CaCertificates(source) => debian::add_certificates(&mut tree, &at, source)?,
            Source::File(source) => plain::add_file(&mut tree, &at, source)?,
            Source::Tree(source) => plain::add_tree(&mut tree, &at, source)?,
            Source::Copy(source) => plain::add_copy(&mut tree, &at, source)?,
            Source::Text(source) => plain::add_text(&mut tree, &at, source)?,
            Source::Directory(source) => plain::add_directory(&mut tree, &at, source)?,
            Source::Symlink(source) => plain::add_symlink(&mut tree, &at, source)?,
            Source::Chart(source) => chart::add(&mut tree, &at, source, spec.epoch)?,
            Source::ImageArchive(source) => {
                add_image_archive(&mut tree, &at, source, spec.epoch, spool)?;
            }
            Source::Step(source) => {
                let runner = step_runner(&at, spec, runner)?;
                workplace = Some(step::add(&mut tree, source, spec.epoch, runner)?);
            }
        }
    }
    let (details, also_installed) = add_debian(&mut tree, &debian, spool)?;
    tree.complete()?;
    Ok(Gathered {
        tree,
        details,
        also_installed,
        _workplace: workplace,
    })
}

/// Returns the runner of a command. The command must be alone in its layer.
fn step_runner<'a>(
    at: &str,
    spec: &LayerSpec,
    runner: Option<&'a dyn Runner>,
) -> Result<&'a dyn Runner> {
    if spec.sources.len() > 1 {
        let problem = "a step is the only source of its layer, and there are others";
        return Err(Error::spec(at, problem, "put them into other layers"));
    }
    runner.ok_or_else(|| {
        let problem = "nothing here runs commands";
        Error::spec(at, problem, "build with Nix: `assemble build`")
    })
}

/// Adds all Debian sources together, because they share one status file.
fn add_debian(
    tree: &mut Tree,
    sources: &[(String, &DebianSource)],
    spool: &mut Spool,
) -> Result<(Vec<PackageDetails>, Vec<DebianPackage>)> {
    if sources.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    debian::add(tree, sources, spool)
}

fn add_image_archive(
    tree: &mut Tree,
    at: &str,
    source: &ImageArchiveSource,
    epoch: u64,
    spool: &mut Spool,
) -> Result<()> {
    let reference: ImageName = source.reference.parse().map_err(|error| {
        Error::spec(
            format!("{at}.reference"),
            format!("{error}"),
            "this is the name the image is loaded under",
        )
    })?;
    let layout = Layout::open(&source.from)?;
    let selection = Selection {
        format: source.format,
        references: vec![reference],
        platform: None,
        epoch,
        documents: false,
    };
    let content = spool.add(|out| archive::write(&layout, &selection, out))?;
    let path = tree::image_path(&format!("{at}.to"), &source.to)?;
    let origin = format!("{at} (archive of {})", source.reference);
    tree.insert(path, plain::file_node(content, 0o644, 0, 0, &origin))
}

fn write(
    spec: &LayerSpec,
    gathered: &Gathered,
    spool: &Spool,
    output: &OutputDir,
    threads: usize,
) -> Result<LayerRecord> {
    let path = output.path().join(BLOB);
    let cannot_write = || Error::io("write", &path);
    let file = File::create(&path).map_err(Error::io("create", &path))?;
    let blob = HashingWriter::new(BufWriter::with_capacity(1 << 20, file));
    let compressor = Compressor::new(blob, spec.compression, threads).map_err(|error| {
        Error::spec(
            "compression.level",
            error.to_string(),
            "choose another level",
        )
    })?;
    let mut writer = tar::Writer::new(HashingWriter::new(compressor));
    let forbidden = Forbidden::new(&spec.forbidden)?;
    for (path, node) in gathered.tree.nodes() {
        let header = node.header(path, spec.epoch);
        forbidden.check_link(path, header.link)?;
        let failed = Error::io("add", &Path::new("/").join(path));
        let mut content = forbidden.watch(node.reader(spool)?);
        let appended = writer.append(&header, &mut content);
        forbidden.check_content(path, &content)?;
        appended.map_err(failed)?;
    }
    let tar = writer.finish().map_err(cannot_write())?;
    let (compressor, diff_id, uncompressed_size) = tar.finish();
    let (buffer, digest, size) = compressor.finish().map_err(cannot_write())?.finish();
    let file = buffer
        .into_inner()
        .map_err(|error| cannot_write()(error.into_error()))?;
    output::sync(&file, &path)?;
    Ok(LayerRecord {
        version: FormatVersion,
        media_type: layer_media_type(spec.compression.algorithm).to_owned(),
        digest,
        size,
        diff_id,
        uncompressed_size,
        comment: spec.comment.clone(),
        entries: gathered.tree.nodes().len() as u64,
        debian_packages: gathered
            .details
            .iter()
            .map(|details| details.package.clone())
            .collect(),
        also_installed: gathered.also_installed.clone(),
    })
}
