//! The files of an image: the merged view of its layers, and the content of single files.
//!
//! Layers are read as streams and never unpacked. See the image specification on [applying
//! layers](https://github.com/opencontainers/image-spec/blob/main/layer.md#applying-changesets).

mod contents;
mod file;
mod merge;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};

use crateyard_oci::{
    Blobs, Descriptor, DigestAlgorithm, Hasher, Manifest, digest::VerifyingReader, limits::Bounded,
    tar,
};

use crate::packages::{self, Crate};
use crate::{Error, Result};

pub(crate) use contents::TakeContent;
pub use file::{File, FileKind};
pub(crate) use merge::Name;
use merge::{LayerView, Merged};

/// The memory that an entry takes besides its texts.
pub(crate) const ENTRY: u64 = 400;
/// The memory that [`packages`] takes for each byte of the files that are kept for it.
const KEPT_COST: u64 = 4;
/// The largest file of dpkg's that is read, in bytes. A few thousand packages need a tenth of it.
const MAX_DATA_BASE: u64 = 32 << 20;
/// The memory that a crate takes.
const CRATE: u64 = 150;
/// The largest content, in bytes, that waits in memory until its layer's digest is checked. Larger
/// content waits in an unnamed file.
const MAX_SPOOLED: usize = 16 << 20;
/// The largest number of links to follow to a file.
pub(crate) const MAX_LINKS: usize = 40;

/// The facts to find out about files besides those in the tar headers. Each costs time.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Hash the content of regular files.
    pub hash: bool,
    /// Look for the crates that executables were built from.
    pub crates: bool,
    /// Keep the files that state the licences of Debian packages.
    pub licenses: bool,
}

/// All files of an image by path, without leading slash.
#[derive(Debug, Default)]
pub struct Listing {
    merged: Merged,
    problems: Vec<String>,
}

impl Listing {
    /// Reads all layers of an image and checks each against its digest.
    ///
    /// # Errors
    /// When a layer is missing or damaged, or there is more than the budget of `blobs` allows.
    pub fn read(blobs: &dyn Blobs, manifest: &Manifest, options: &Options) -> Result<Listing> {
        let mut listing = Listing::default();
        for (number, layer) in manifest.layers.iter().enumerate() {
            listing.add_layer(blobs, layer, number, options)?;
        }
        Ok(listing)
    }

    /// Returns the files in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.merged
            .files
            .iter()
            .map(|(path, file)| (path.as_str(), file))
    }

    /// Returns the file at a path, with or without leading slash. Does not follow links.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.merged.files.get(path.trim_matches('/'))
    }

    /// Follows a path's links inside the image. Returns the path and file that the path leads to.
    ///
    /// # Errors
    /// When there is no such file, or links go in circles.
    pub fn resolve(&self, path: &str) -> Result<(&str, &File)> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.step(&path)? {
                Step::Found(found, file) => return Ok((found, file)),
                Step::Elsewhere(other) => path = other,
            }
        }
        Err(not_found(&path, " (links go in circles)"))
    }

    /// Follows the first link in a path.
    fn step(&self, path: &str) -> Result<Step<'_>> {
        let mut so_far = String::new();
        let mut components = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".");
        while let Some(component) = components.next() {
            if component == ".." {
                so_far.truncate(so_far.rfind('/').unwrap_or(0));
                continue;
            }
            let parent = so_far.clone();
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(component);
            let file = self.merged.files.get(&so_far);
            if let Some((FileKind::Symlink, Some(target))) =
                file.map(|file| (file.kind, file.target.as_deref()))
            {
                let rest: Vec<&str> = components.collect();
                let start = if target.starts_with('/') { "" } else { &parent };
                return Ok(Step::Elsewhere(format!(
                    "{start}/{target}/{}",
                    rest.join("/")
                )));
            }
        }
        match self.merged.files.get_key_value(&so_far) {
            Some((path, file)) => Ok(Step::Found(path, file)),
            None => Err(not_found(path, "")),
        }
    }

    /// Returns the files that [`packages`] reads, by path.
    pub(crate) fn kept(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.merged.kept
    }

    /// Returns the crates of each executable with a list of its crates, if [`Options::crates`]
    /// asked for them.
    pub fn crates(&self) -> &BTreeMap<String, Vec<Crate>> {
        &self.merged.crates
    }

    /// Returns the entries that were left out because they make no sense, such as paths with `..`.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Copies the content of a regular file. Reads the file's layer again, to its end: the writer
    /// gets nothing before the layer's digest is checked.
    ///
    /// # Errors
    /// When the path leads to no regular file, the layer is damaged or the writer fails.
    pub fn copy_content(
        &self,
        blobs: &dyn Blobs,
        manifest: &Manifest,
        path: &str,
        out: &mut dyn Write,
    ) -> Result<u64> {
        let (name, file) = self.resolve(path)?;
        if !matches!(file.kind, FileKind::File | FileKind::HardLink) {
            let what = format!("/{name}");
            let problem = "it is not a regular file".to_owned();
            return Err(crateyard_oci::Error::Unsupported { what, problem }.into());
        }
        let (layer, entry) = file.content;
        let layer = manifest.layers.get(layer);
        let layer = layer.ok_or_else(|| not_found(name, " (its layer is gone)"))?;
        let mut stream = LayerStream::open(blobs, layer)?;
        for _ in 0..=entry {
            stream.next_entry()?;
        }
        let failed = |error| Error::io("copy", std::path::Path::new(path))(error);
        let mut content = tempfile::spooled_tempfile(MAX_SPOOLED);
        io::copy(&mut stream.reader, &mut content).map_err(failed)?;
        stream.finish()?;
        content.rewind().map_err(failed)?;
        io::copy(&mut content, out).map_err(failed)
    }

    fn add_layer(
        &mut self,
        blobs: &dyn Blobs,
        layer: &Descriptor,
        number: usize,
        options: &Options,
    ) -> Result<()> {
        let mut stream = LayerStream::open(blobs, layer)?;
        let mut view = LayerView::default();
        let mut count = 0;
        while let Some(entry) = stream.next_entry()? {
            let ordinal = count;
            count += 1;
            let name = match Name::of(&entry.path) {
                Ok(name) => name,
                Err(problem) => {
                    self.note(format!("layer {number}: {problem}"));
                    continue;
                }
            };
            let Some(kind) = FileKind::of(entry.kind) else {
                continue;
            };
            stream.keep(blobs, texts(&entry, &name) + ENTRY)?;
            let mut file = new_file(&entry, kind, number, ordinal);
            if let Name::Path(path) = &name {
                let paid = look_inside(path, &mut file, &mut stream.reader, options, &mut view);
                let paid = paid.map_err(|error| stream_damaged(&stream.what, error))?;
                stream.keep(blobs, paid)?;
            }
            view.add(name, file);
        }
        stream.finish()?;
        Ok(self.merged.apply(view, blobs.budget())?)
    }

    fn note(&mut self, problem: String) {
        if self.problems.len() < 1000 {
            self.problems.push(problem);
        }
    }
}

/// Reads the content of a file as far as the options ask for it. Returns the memory that this took.
fn look_inside(
    path: &str,
    file: &mut File,
    content: &mut dyn Read,
    options: &Options,
    view: &mut LayerView,
) -> io::Result<u64> {
    if file.kind != FileKind::File {
        return Ok(0);
    }
    let mut paid = 0;
    let mut hasher = options.hash.then(|| Hasher::new(DigestAlgorithm::Sha256));
    let mut tee = Tee {
        inner: content,
        hasher: hasher.as_mut(),
    };
    let wanted = packages::is_data_base(path) || options.licenses && packages::is_copyright(path);
    if wanted && file.size <= MAX_DATA_BASE {
        let mut bytes = Vec::new();
        tee.read_to_end(&mut bytes)?;
        paid += bytes.len() as u64 * KEPT_COST;
        view.kept.insert(path.to_owned(), bytes);
    } else if options.crates && file.mode & 0o111 != 0 {
        if let Some(crates) = packages::crates_of_executable(&mut tee)? {
            paid += crates.len() as u64 * CRATE;
            view.crates.insert(path.to_owned(), crates);
        }
    }
    if options.hash {
        io::copy(&mut tee, &mut io::sink())?;
    }
    file.digest = hasher.map(Hasher::finish);
    Ok(paid)
}

/// Returns the number of bytes in an entry's texts.
fn texts(entry: &tar::Entry, name: &Name) -> u64 {
    (name.len() + entry.link.len()) as u64 + size_of_xattrs(&entry.xattrs)
}

pub(crate) fn size_of_xattrs(xattrs: &BTreeMap<String, Vec<u8>>) -> u64 {
    let sizes = xattrs
        .iter()
        .map(|(key, value)| key.len() + value.len() + 100);
    sizes.sum::<usize>() as u64
}

enum Step<'a> {
    Found(&'a str, &'a File),
    Elsewhere(String),
}

fn not_found(path: &str, hint: &str) -> Error {
    let not_found = crateyard_oci::Error::NotFound {
        what: format!("/{}", path.trim_start_matches('/')),
        place: "the image".to_owned(),
        hint: hint.to_owned(),
    };
    not_found.into()
}

fn new_file(entry: &tar::Entry, kind: FileKind, layer: usize, ordinal: usize) -> File {
    let target = match kind {
        FileKind::Symlink => Some(String::from_utf8_lossy(&entry.link).into_owned()),
        FileKind::HardLink => Name::of(&entry.link).ok().and_then(Name::into_path),
        _ => None,
    };
    File {
        kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        mtime: entry.mtime,
        target,
        xattrs: entry.xattrs.clone(),
        layer,
        digest: None,
        content: (layer, ordinal),
    }
}

/// A reader that hashes the bytes that pass through it.
struct Tee<'a> {
    inner: &'a mut dyn Read,
    hasher: Option<&'a mut Hasher>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// The entries of one layer.
struct LayerStream<'a> {
    what: String,
    reader: tar::Reader<Bounded<Box<dyn Read + Send + 'a>>>,
}

impl<'a> LayerStream<'a> {
    fn open(blobs: &'a dyn Blobs, layer: &Descriptor) -> Result<LayerStream<'a>> {
        let tar =
            crateyard_unpack::layer::open(blobs, layer, |blob| VerifyingReader::new(blob, layer))?;
        Ok(LayerStream {
            reader: tar::Reader::within(tar, blobs.budget()),
            what: format!("layer {} of {}", layer.digest, blobs.title()),
        })
    }

    fn keep(&self, blobs: &dyn Blobs, bytes: u64) -> Result<()> {
        Ok(blobs.budget().keep(&self.what, bytes)?)
    }

    fn next_entry(&mut self) -> Result<Option<tar::Entry>> {
        let entry = self.reader.next_entry();
        entry.map_err(|error| Error::damaged(&self.what, error.to_string()))
    }

    /// Reads the bytes behind the archive, so that the digest of the whole blob is checked.
    fn finish(self) -> Result<()> {
        let rest = io::copy(&mut self.reader.into_inner(), &mut io::sink());
        rest.map(drop)
            .map_err(|error| stream_damaged(&self.what, error))
    }
}

fn stream_damaged(what: &str, error: io::Error) -> Error {
    Error::damaged(what, error.to_string())
}
