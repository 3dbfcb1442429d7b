//! A first `images.toml` for a workspace: an image for each binary, and what its sources give away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

/// A first description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The text of `images.toml`.
    pub text: String,
    /// The names of its images.
    pub images: Vec<String>,
    /// What was guessed, and from what; for people.
    pub reasons: Vec<String>,
}

/// What is read of `cargo metadata --no-deps --format-version 1`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

/// An image to be.
struct Image {
    name: String,
    binary: String,
    port: Option<u16>,
}

/// What `cargo metadata --no-deps` says of a workspace, and its sources, as a description.
///
/// # Errors
/// Where the metadata is not of its form.
pub fn guess(metadata: &str) -> Result<Guess, serde_json::Error> {
    let mut metadata: Metadata = serde_json::from_str(metadata)?;
    metadata.packages.sort_by(|a, b| a.name.cmp(&b.name));
    let mut reasons = Vec::new();
    let mut images = Vec::new();
    let mut crates = BTreeMap::new();
    let directories: Vec<PathBuf> = metadata.packages.iter().map(Package::directory).collect();
    for package in &metadata.packages {
        let sources = sources_of(&package.directory(), &directories);
        images.extend(images_of(package, &sources, &mut reasons));
        let files = files_outside(package, &metadata.workspace_root, &sources, &mut reasons);
        if !files.is_empty() {
            crates.insert(package.name.clone(), files);
        }
    }
    let charts = charts_below(&metadata.workspace_root, &metadata.workspace_root, 4);
    for chart in &charts {
        reasons.push(match images.len() {
            1 => format!("the chart in {chart} goes to /usr/share/charts/"),
            _ => format!(
                "no image has the chart in {chart}: add it to `charts` of the one that shall"
            ),
        });
    }
    let charts = if images.len() == 1 {
        charts
    } else {
        Vec::new()
    };
    Ok(Guess {
        text: text(&images, &charts, &crates),
        images: images.into_iter().map(|image| image.name).collect(),
        reasons,
    })
}

impl Package {
    fn directory(&self) -> PathBuf {
        let directory = self.manifest_path.parent();
        directory.unwrap_or(Path::new("/")).to_path_buf()
    }

    /// A binary of it, as `images.toml` names it.
    fn binary(&self, bin: &str) -> String {
        let bins = self.targets.iter().filter(|target| target.is_binary());
        if bin == self.name || bins.count() == 1 {
            self.name.clone()
        } else {
            format!("{}/{bin}", self.name)
        }
    }
}

impl Target {
    fn is_binary(&self) -> bool {
        self.kind.iter().any(|kind| kind == "bin")
    }
}

fn images_of(package: &Package, sources: &[Source], reasons: &mut Vec<String>) -> Vec<Image> {
    let port = sources.iter().find_map(Source::port);
    let bins = package.targets.iter().filter(|target| target.is_binary());
    bins.map(|target| {
        let name = image_name(&target.name);
        reasons.push(format!(
            "image {name}: the binary {} of the package {}",
            target.name, package.name
        ));
        if let Some((port, file, line)) = &port {
            reasons.push(format!(
                "image {name}: port {port}, which {}:{line} names",
                file.display()
            ));
        }
        Image {
            name,
            binary: package.binary(&target.name),
            port: port.as_ref().map(|(port, ..)| *port),
        }
    })
    .collect()
}

/// Images are named in lower case.
fn image_name(bin: &str) -> String {
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '_') => c,
        _ => '-',
    };
    bin.chars().map(allowed).collect()
}

/// A source file of a package.
struct Source {
    /// Relative to the package.
    path: PathBuf,
    text: String,
}

/// The Rust files of a package, without those of packages inside it.
fn sources_of(directory: &Path, packages: &[PathBuf]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in entries(&next) {
            let hidden = entry.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name == "target" || name.starts_with('.')
            });
            if entry.is_dir() && !hidden && !packages.contains(&entry) {
                pending.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                // What is no text has no paths in it.
                let text = fs::read_to_string(&entry).unwrap_or_default();
                let path = entry
                    .strip_prefix(directory)
                    .unwrap_or(&entry)
                    .to_path_buf();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).into_iter().flatten();
    let mut entries: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

impl Source {
    fn is_test(&self) -> bool {
        ["tests", "benches", "examples"]
            .iter()
            .any(|directory| self.path.starts_with(directory))
    }

    /// The port of an address that all interfaces have, with the line that names it.
    fn port(&self) -> Option<(u16, PathBuf, usize)> {
        if self.is_test() {
            return None;
        }
        self.text.lines().enumerate().find_map(|(index, line)| {
            let (_, rest) = line
                .split_once("0.0.0.0:")
                .or_else(|| line.split_once("[::]:"))?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            let port = digits.parse().ok().filter(|port| *port != 0)?;
            Some((port, self.path.clone(), index + 1))
        })
    }

    /// Paths that the file names and that may lie outside of the package, relative to the package.
    fn named_paths(&self) -> Vec<PathBuf> {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let mut named = Vec::new();
        for include in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
            let after = self.text.split(include).skip(1);
            named.extend(after.filter_map(literal).map(|path| directory.join(path)));
        }
        if self.path == Path::new("build.rs") {
            // A build script runs in the package's directory.
            let after = self.text.split("\"../").skip(1);
            named.extend(
                after
                    .filter_map(literal)
                    .map(|path| Path::new("..").join(path)),
            );
        }
        named
    }
}

/// What stands before the quote that ends a literal.
fn literal(rest: &str) -> Option<&str> {
    rest.split_once('"').map(|(literal, _)| literal)
}

/// What a package's sources name outside of what its units see, relative to the package.
fn files_outside(
    package: &Package,
    root: &Path,
    sources: &[Source],
    reasons: &mut Vec<String>,
) -> BTreeSet<String> {
    let directory = package.directory();
    let mut files = BTreeSet::new();
    for source in sources {
        for path in source.named_paths() {
            let Some(path) = simple(&path) else { continue };
            let place = directory.join(&path);
            let outside = path.starts_with("..");
            let document = path.components().count() == 1
                && path.extension().is_some_and(|extension| extension == "md");
            let inside_workspace = simple(&place).is_some_and(|place| place.starts_with(root));
            let wanted = outside || (document && !source.is_test());
            if wanted && inside_workspace && place.exists() {
                let written = path.to_string_lossy().into_owned();
                let reason = format!(
                    "the package {} sees {written}, which its {} names",
                    package.name,
                    source.path.display()
                );
                if files.insert(written) {
                    reasons.push(reason);
                }
            }
        }
    }
    files
}

/// A path without `.` and with `..` only at its beginning; none where it leaves the root of all.
fn simple(path: &Path) -> Option<PathBuf> {
    let mut simple = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match simple.components().next_back() {
                Some(Component::Normal(_)) => {
                    simple.pop();
                }
                Some(Component::RootDir) => return None,
                _ => simple.push(".."),
            },
            part => simple.push(part),
        }
    }
    Some(simple)
}

/// Directories with a `Chart.yaml`, relative to the workspace.
fn charts_below(root: &Path, directory: &Path, depth: usize) -> Vec<String> {
    if directory.join("Chart.yaml").is_file() {
        let path = directory.strip_prefix(root).unwrap_or(directory);
        return vec![path.to_string_lossy().into_owned()];
    }
    if depth == 0 {
        return Vec::new();
    }
    let visible = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir() && name != "target" && !name.starts_with('.')
    };
    let below = entries(directory).into_iter().filter(visible);
    below
        .flat_map(|path| charts_below(root, &path, depth - 1))
        .collect()
}

fn text(
    images: &[Image],
    charts: &[String],
    crates: &BTreeMap<String, BTreeSet<String>>,
) -> String {
    let mut text = "# What the images hold. Every field: \
                    https://github.com/crateyard/crateyard/blob/main/docs/images-toml.md\nversion = 1\n"
        .to_string();
    // Writing to a string does not fail.
    for image in images {
        let _ = write!(
            text,
            "\n[images.{}]\nbinaries = [{:?}]\n",
            image.name, image.binary
        );
        if let Some(port) = image.port {
            let _ = writeln!(text, "ports = [{port}]");
        }
        for chart in charts {
            let _ = writeln!(
                text,
                "charts = [{{ source = {chart:?}, path = \"/usr/share/charts/\" }}]"
            );
        }
    }
    for (name, files) in crates {
        let files: Vec<String> = files.iter().map(|file| format!("{file:?}")).collect();
        let _ = write!(text, "\n[crates.{name}]\nfiles = [{}]\n", files.join(", "));
    }
    text
}
