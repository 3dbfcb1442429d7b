//! From a description to images without Nix: what nix/image/*.nix says, done here and now.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_oci::{Digest, digest::HashingWriter};
use description::Platform;
use description::normal::{Base, Binary, Content, Description, Entry, Image, Layer, LayerContent};
use image::spec::{
    ArchiveFormat, CaCertificatesSource, ChartSource, DebianSource, DetailedLayer, DirectorySource,
    FileSource, ImageArchiveSource, ImageSpec, LayerReference, LayerSpec, Mode, Source,
    SymlinkSource, TextSource, TreeSource, Version,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kept::Kept;
use super::packages::Packages;

/// What says on an image that it was not built hermetically: a label and an annotation.
pub const UNHERMETIC: &str = "io.github.crateyard.unhermetic";

/// Makes the images of a description.
pub struct Images<'a> {
    /// The workspace.
    pub root: &'a Path,
    /// What it describes.
    pub description: &'a Description,
    /// The platform that is built for.
    pub platform: Platform,
    /// Where Debian packages come from.
    pub packages: Packages,
    /// The programs.
    pub binaries: BTreeMap<Binary, PathBuf>,
    /// Why the programs are not hermetic.
    pub unhermetic: &'a str,
    /// Where layers and images go.
    pub kept: &'a Kept,
    /// Those that are made.
    pub made: BTreeMap<String, PathBuf>,
}

impl Images<'_> {
    /// The layout of an image; of the images in it too.
    ///
    /// # Errors
    /// When a layer or the image can't be made.
    pub fn make(&mut self, name: &str) -> Result<PathBuf> {
        if let Some(made) = self.made.get(name) {
            return Ok(made.clone());
        }
        let description = self.description;
        let image = description
            .images
            .get(name)
            .with_context(|| format!("images.toml describes no image {name:?}"))?;
        if image.platforms != [self.platform.clone()] {
            let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
            bail!(
                "the image {name:?} is for {}, and this machine is {}\n  try: --engine nix or buildx",
                platforms.join(", "),
                self.platform
            );
        }
        for inner in &image.images {
            self.make(inner)?;
        }
        let spec = self.spec(image)?;
        let path = self
            .kept
            .image(name, |out| Ok(image::assemble::make(&spec, out)?))
            .with_context(|| format!("cannot assemble the image {name:?}"))?;
        self.made.insert(name.to_owned(), path.clone());
        Ok(path)
    }

    fn spec(&self, image: &Image) -> Result<ImageSpec> {
        let layers = image.layers.iter().map(|layer| {
            let spec = self.layer(image, layer)?;
            let path = self.kept.layer(&layer.name, &spec)?;
            Ok(LayerReference::Detailed(DetailedLayer {
                replaces: replaced(layer),
                ..LayerReference::Path(path).detailed()
            }))
        });
        let mut config = image.config.clone();
        config
            .labels
            .insert(UNHERMETIC.to_owned(), self.unhermetic.to_owned());
        Ok(ImageSpec {
            version: Version,
            name: image.name.clone(),
            references: references(image),
            platform: same_form(&self.platform)?,
            base: self.base(image)?,
            layers: layers.collect::<Result<_>>()?,
            config: same_form(&config)?,
            annotations: BTreeMap::from([(UNHERMETIC.to_owned(), self.unhermetic.to_owned())]),
            created: 0,
            // Nix alone knows all that goes in.
            inputs: None,
        })
    }

    fn base(&self, image: &Image) -> Result<Option<PathBuf>> {
        match &image.base {
            Base::None => Ok(None),
            Base::Layout { path, .. } => Ok(Some(self.root.join(path))),
            Base::Reference { reference, digest } => bail!(
                "the image {:?} stands on {reference}\n  try: `assemble pull {reference}@{digest} --out DIR`, and name the \
                 directory as its base",
                image.name
            ),
        }
    }

    fn layer(&self, image: &Image, layer: &Layer) -> Result<LayerSpec> {
        let sources = match &layer.content {
            LayerContent::Packages { set } => self.packages_of(image, layer, set)?,
            LayerContent::Files { entries } => {
                let sources = entries.iter().map(|entry| self.source(entry));
                sources.collect::<Result<_>>()?
            }
        };
        Ok(LayerSpec {
            version: Version,
            comment: layer.name.clone(),
            compression: same_form(&image.compression)?,
            epoch: 0,
            forbidden: Vec::new(),
            sources,
        })
    }

    fn packages_of(&self, image: &Image, layer: &Layer, set: &str) -> Result<Vec<Source>> {
        let is_beyond = self
            .description
            .debian
            .sets
            .get(set)
            .is_some_and(|set| set.beyond.is_some());
        if !is_beyond {
            return base_packages(&self.packages, set);
        }
        let mut also_installed = Vec::new();
        for other in image.layers.iter().filter(|other| other.name != layer.name) {
            if let LayerContent::Packages { set } = &other.content {
                also_installed.extend(self.packages.of_set(set)?);
            }
        }
        Ok(vec![Source::Debian(DebianSource {
            packages: self.packages.of_set(set)?,
            exclude: serde_json::from_str(image::layer::UNNEEDED)?,
            also_installed,
        })])
    }

    fn source(&self, entry: &Entry) -> Result<Source> {
        let to = entry.path.clone();
        let (uid, gid) = (entry.uid, entry.gid);
        let mode = entry.mode.as_deref().map(mode).transpose()?;
        let file = |from: PathBuf| {
            Source::File(FileSource {
                from,
                to: to.clone(),
                mode,
                uid,
                gid,
                xattrs: BTreeMap::new(),
                crates: None,
            })
        };
        Ok(match &entry.content {
            Content::Source { source } => {
                let from = self.root.join(source);
                match from.is_dir() {
                    true => Source::Tree(TreeSource { from, to, uid, gid }),
                    false => file(from),
                }
            }
            Content::Binary(binary) => file(
                self.binaries
                    .get(binary)
                    .with_context(|| format!("cargo has built no {}", binary.bin))?
                    .clone(),
            ),
            Content::Text { text } => Source::Text(TextSource {
                to,
                text: text.clone(),
                mode,
                uid,
                gid,
            }),
            Content::Directory => Source::Directory(DirectorySource { to, mode, uid, gid }),
            Content::Symlink { target } => Source::Symlink(SymlinkSource {
                to,
                target: target.clone(),
            }),
            Content::Chart { source } => Source::Chart(ChartSource {
                from: self.root.join(source),
                to,
                version: None,
                app_version: None,
            }),
            Content::Image {
                image,
                format,
                reference,
            } => Source::ImageArchive(ImageArchiveSource {
                from: self
                    .made
                    .get(image)
                    .with_context(|| format!("the image {image:?} is not made yet"))?
                    .clone(),
                to,
                format: same_form::<_, ArchiveFormat>(format)?,
                reference: reference.clone(),
            }),
        })
    }
}

/// What a layer has that takes the place of files of the base.
fn replaced(layer: &Layer) -> Vec<String> {
    let LayerContent::Files { entries } = &layer.content else {
        return Vec::new();
    };
    let replaced = entries.iter().filter(|entry| entry.replace);
    replaced.map(|entry| entry.path.clone()).collect()
}

/// The names of an image: itself with each of its tags.
pub fn references(image: &Image) -> Vec<String> {
    let tags = image.tags.iter();
    tags.map(|tag| format!("{}:{tag}", image.name)).collect()
}

/// What a set that stands on nothing puts into a layer: its packages, and the certificates among them as one file.
pub fn base_packages(packages: &Packages, set: &str) -> Result<Vec<Source>> {
    let files = packages.of_set(set)?;
    Ok(vec![
        Source::Debian(DebianSource {
            packages: files.clone(),
            exclude: serde_json::from_str(image::layer::UNNEEDED)?,
            also_installed: Vec::new(),
        }),
        Source::CaCertificates(CaCertificatesSource {
            packages: files,
            to: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
        }),
    ])
}

fn mode(octal: &str) -> Result<Mode> {
    let bits = u32::from_str_radix(octal, 8).with_context(|| format!("{octal:?} is no mode"))?;
    Ok(Mode(bits))
}

/// The description and the image program have types of their own for one JSON form.
fn same_form<T: Serialize, U: DeserializeOwned>(value: &T) -> Result<U> {
    Ok(serde_json::from_value(serde_json::to_value(value)?)?)
}

/// What decides about a layer: its specification, and the content of files that may change under their names.
pub fn key_of(spec: &LayerSpec) -> Result<Digest> {
    let mut hasher = HashingWriter::new(std::io::sink());
    serde_json::to_writer(&mut hasher, spec)?;
    for source in &spec.sources {
        match source {
            Source::File(file) => hash(&file.from, &mut hasher)?,
            Source::Tree(tree) => hash(&tree.from, &mut hasher)?,
            Source::Chart(chart) => hash(&chart.from, &mut hasher)?,
            // Packages and images have names that say their content.
            _ => {}
        }
    }
    Ok(hasher.finish().1)
}

/// A file or a tree: names, kinds, whether it may be executed, contents.
fn hash(path: &Path, hasher: &mut HashingWriter<std::io::Sink>) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    let context = || format!("cannot read {}", path.display());
    let metadata = fs::symlink_metadata(path).with_context(context)?;
    let kind = metadata.file_type();
    write!(
        hasher,
        "\0{}\0{:o}\0{}\0",
        path.display(),
        metadata.mode(),
        metadata.len()
    )?;
    if kind.is_symlink() {
        write!(
            hasher,
            "{}",
            fs::read_link(path).with_context(context)?.display()
        )?;
    } else if kind.is_dir() {
        let entries = fs::read_dir(path).with_context(context)?;
        let mut names: Vec<PathBuf> = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()
            .with_context(context)?;
        names.sort();
        for name in names {
            hash(&name, hasher)?;
        }
    } else {
        let mut file = File::open(path).with_context(context)?;
        std::io::copy(&mut file, hasher).with_context(context)?;
    }
    Ok(())
}
