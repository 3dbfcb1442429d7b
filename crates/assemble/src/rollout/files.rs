//! Reads the files that `-f` names.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_deploy::manifest::{DeployManifest, Names, SCHEME, Syntax, Use};
use crateyard_deploy::quadlet;
use crateyard_terminal::note;

/// The size limit for a manifest, in bytes. etcd keeps objects of at most 1.5 MB.
pub(super) const MAX_FILE: u64 = 16 << 20;
/// The size limit for all manifests together, in bytes.
const MAX_ALL: u64 = 64 << 20;
/// The number of files that a directory may have.
const MAX_FILES: usize = 10_000;
/// The file that marks a directory as a Helm chart.
const CHART: &str = "Chart.yaml";
/// The directory of a chart's templates, which are not YAML until Helm renders them.
const TEMPLATES: &str = "templates";

/// A manifest that was read.
#[derive(Debug)]
pub struct Source {
    /// The path of the file; `None` for standard input.
    pub path: Option<PathBuf>,
    /// The path relative to the directory that `-f` names, or only the file's name if `-f` names
    /// the file. A drop-in keeps the name of its directory.
    pub below: PathBuf,
    /// The content.
    pub text: String,
    /// The syntax.
    pub syntax: Syntax,
    /// The images in it.
    pub manifest: DeployManifest,
}

impl Source {
    /// Returns the name of the file in messages.
    pub fn title(&self) -> String {
        title(self.path.as_deref())
    }

    /// Whether the file is a Quadlet unit, or a drop-in of one.
    pub fn is_unit(&self) -> bool {
        self.syntax == Syntax::Unit
    }

    /// Returns the directory in which the file's units lie, and the file's path from there.
    pub fn beside_units(&self) -> Option<(&Path, &Path)> {
        let path = self.path.as_deref()?;
        let mut directory = path.parent()?;
        if quadlet::is_drop_in(&path.to_string_lossy()) {
            directory = directory.parent()?;
        }
        Some((directory, path.strip_prefix(directory).ok()?))
    }

    /// Returns the images that the file names, in its order.
    pub fn uses(&self) -> Vec<Use> {
        self.manifest.uses()
    }
}

fn title(path: Option<&Path>) -> String {
    path.map_or("standard input".to_owned(), |path| {
        path.display().to_string()
    })
}

/// Reads all named files and directories.
///
/// # Errors
/// When a file can't be read, does not parse, or names an image that does not exist.
pub fn read(named: &[PathBuf], names: &Names) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut left = MAX_ALL;
    let mut add = |source: Source| {
        let rest = left.checked_sub(source.text.len() as u64);
        left = rest.with_context(|| {
            format!(
                "{} is one too many: the manifests have more than {MAX_ALL} bytes",
                source.title()
            )
        })?;
        sources.push(source);
        anyhow::Ok(())
    };
    for path in named {
        if path.as_os_str() == "-" {
            add(standard_input(names)?)?;
        } else {
            let (root, found) = found(path)?;
            for file in found {
                let below = file.strip_prefix(&root).unwrap_or(&file).to_owned();
                add(source(&file, below, names)?)?;
            }
        }
    }
    Ok(sources)
}

/// Returns the files of a named directory, or a named file, and the directory that their paths
/// begin with. A named unit brings the drop-ins beside it.
fn found(path: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
    let parent = || path.parent().unwrap_or(Path::new("")).to_owned();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    if path.is_dir() {
        walk(path, &mut found)?;
        let is_part = quadlet::is_drop_in_directory(&name);
        let root = if is_part { parent() } else { path.to_owned() };
        return Ok((root, found));
    }
    found.push(path.to_owned());
    if quadlet::is_unit(&name) {
        let drop_ins = path.with_file_name(format!("{name}.d"));
        if drop_ins.is_dir() {
            walk(&drop_ins, &mut found)?;
        }
    }
    let mut root = parent();
    if quadlet::is_drop_in(&path.to_string_lossy()) {
        root.pop();
    }
    Ok((root, found))
}

/// Joins several texts as documents of one stream. Returns a single text as it is.
pub fn join<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut stream = String::new();
    for text in texts {
        if !stream.is_empty() {
            if !stream.ends_with('\n') {
                stream.push('\n');
            }
            if !text.starts_with("---") {
                stream += "---\n";
            }
        }
        stream += text;
    }
    stream
}

fn standard_input(names: &Names) -> Result<Source> {
    let title = "standard input";
    let text = text(within(std::io::stdin().lock(), title)?, title)?;
    parse(None, "manifest.yaml".into(), text, Syntax::Yaml, names)
}

fn source(path: &Path, below: PathBuf, names: &Names) -> Result<Source> {
    let title = path.display().to_string();
    let Some(syntax) = Syntax::of(path) else {
        bail!(
            "{title} does not have the name of a manifest\n  try: a name that ends in .yaml, \
             .json or \
             .container"
        );
    };
    let text = text(bytes_of(path)?, &title)?;
    parse(Some(path.to_owned()), below, text, syntax, names)
}

fn parse(
    path: Option<PathBuf>,
    below: PathBuf,
    text: String,
    syntax: Syntax,
    names: &Names,
) -> Result<Source> {
    let manifest = DeployManifest::parse(&text, syntax, names);
    let manifest = manifest.with_context(|| title(path.as_deref()))?;
    Ok(Source {
        path,
        below,
        text,
        syntax,
        manifest,
    })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let title = path.display().to_string();
    let file = fs::File::open(path).with_context(|| format!("cannot read {title}"))?;
    within(file, &title)
}

/// Reads at most [`MAX_FILE`] bytes. A pipe or a device does not tell its size.
fn within(input: impl Read, title: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {title}"))?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{title} has more than {MAX_FILE} bytes, which is too large for a manifest");
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>, title: &str) -> Result<String> {
    String::from_utf8(bytes).with_context(|| format!("{title} is not UTF-8 text"))
}

/// Collects the manifests of a directory, sorted. Skips links, because the links of a repository
/// may lead anywhere.
fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let context = || format!("cannot read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(context)?;
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>().with_context(context)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let is_chart = directory.join(CHART).is_file();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().with_context(context)?;
        let path = entry.path();
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() && is_chart && name == TEMPLATES {
            check_templates(&path)?;
        } else if kind.is_dir() {
            walk(&path, found)?;
        } else if kind.is_file() && Syntax::of(&path).is_some() {
            found.push(path);
        } else if kind.is_symlink() && Syntax::of(&path).is_some() {
            note!("{} is a link, which is skipped", path.display());
        }
        if found.len() > MAX_FILES {
            bail!(
                "{} has more than {MAX_FILES} manifests",
                directory.display()
            );
        }
    }
    Ok(())
}

/// Refuses Helm templates that name images: they are not YAML, so these images would be missed.
fn check_templates(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if !entry.file_type()?.is_file() {
            continue;
        }
        let path = entry.path();
        // A file that is not text can't have references.
        let text = String::from_utf8(bytes_of(&path)?).unwrap_or_default();
        if let Some(line) = text.lines().position(|line| line.contains(SCHEME)) {
            bail!(
                "{}:{}: {SCHEME} in a template of Helm's stays as it is\n  try: name the image in \
                 values.yaml, or resolve what `helm template` prints: helm template . | assemble \
                 resolve -f -",
                path.display(),
                line + 1
            );
        }
    }
    Ok(())
}
