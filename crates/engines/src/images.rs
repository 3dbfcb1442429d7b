//! Makes images from a description without Nix, with the same values as nix/image/images.nix.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use crateyard_description::normal::{Base, Binary, Description, Image, Layer, Placeholder};
use crateyard_description::{TargetPlatform, own_part};
use crateyard_dockerfile::Project;
use crateyard_image::spec::{
    BaseSpec, DetailedLayer, FormatVersion, ImageSpec, LayerReference, LayerSpec, Source,
};
use crateyard_oci::{Digest, digest::HashingWriter};
use crateyard_spec::fill;
use serde_json::{Value, json};

use super::kept::Kept;
use super::packages::Packages;

/// The label and annotation that mark an image as not hermetic.
pub(crate) const UNHERMETIC: &str = "io.github.crateyard.unhermetic";

/// Makes the images of a description.
pub(crate) struct Images<'a> {
    /// The workspace.
    pub root: &'a Path,
    /// The description.
    pub description: &'a Description,
    /// The target platform.
    pub platform: TargetPlatform,
    /// The source of Debian packages.
    pub packages: Packages,
    /// The Cargo workspace, which knows the crates that each program may be linked from.
    pub project: &'a Project,
    /// The programs.
    pub binaries: BTreeMap<Binary, PathBuf>,
    /// The reason why the programs are not hermetic.
    pub unhermetic: &'a str,
    /// The directory for layers and images.
    pub kept: &'a Kept,
    /// The layouts of the images that are made already, by name.
    pub made: BTreeMap<String, PathBuf>,
}

impl Images<'_> {
    /// Makes the layout of an image, and those of the images inside it.
    ///
    /// # Errors
    /// When a layer or the image can't be made.
    pub(crate) fn make(&mut self, name: &str) -> Result<PathBuf> {
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
                "the image {name:?} is for {}, and this machine is {}\n  try: --engine nix or \
                 buildx",
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
            .image(name, |out| Ok(crateyard_image::layout::make(&spec, out)?))
            .with_context(|| format!("cannot assemble the image {name:?}"))?;
        self.made.insert(name.to_owned(), path.clone());
        Ok(path)
    }

    fn spec(&self, image: &Image) -> Result<ImageSpec> {
        let mut config = image.config.clone();
        config
            .labels
            .insert(UNHERMETIC.to_owned(), self.unhermetic.to_owned());
        Ok(ImageSpec {
            version: FormatVersion,
            name: image.name.clone(),
            references: image.references.clone(),
            platform: oci_platform(&self.platform)?,
            base: self.base(image)?,
            layers: self.layers(image, |_| true)?,
            config,
            annotations: BTreeMap::from([(UNHERMETIC.to_owned(), self.unhermetic.to_owned())]),
            created: 0,
            // Only Nix knows all inputs.
            inputs: None,
        })
    }

    fn base(&self, image: &Image) -> Result<Option<PathBuf>> {
        match &image.base {
            Base::None => Ok(None),
            Base::Layout { path, digest: None } => Ok(Some(self.root.join(path))),
            Base::Layout {
                path,
                digest: Some(digest),
            } => self.base_of(&image.name, path, digest).map(Some),
            Base::Reference { reference, digest } => bail!(
                "the image {:?} stands on {reference}\n  try: `assemble pull {reference}@{digest} \
                 --out DIR`, and name the directory as its base",
                image.name
            ),
        }
    }

    /// Takes the base of an image out of a layout with several images.
    fn base_of(&self, name: &str, path: &str, digest: &str) -> Result<PathBuf> {
        let spec = BaseSpec {
            version: FormatVersion,
            layout: self.root.join(path),
            digest: digest.parse()?,
        };
        let name = format!("{name}-base");
        let made = self
            .kept
            .image(&name, |out| Ok(crateyard_image::base::make(&spec, out)?));
        made.with_context(|| format!("cannot take the base {digest} out of {path}"))
    }

    /// Makes an image that has the Debian packages of another image and nothing else.
    ///
    /// # Errors
    /// When a layer or the image can't be made.
    pub(crate) fn make_base(&self, image: &Image) -> Result<PathBuf> {
        let name = format!("{}-base", image.name);
        let spec = ImageSpec {
            layers: self.layers(image, |layer| layer.has_packages() && !layer.only_if_linked)?,
            ..super::parents::spec(&name, &self.platform)?
        };
        self.kept
            .image(&name, |out| Ok(crateyard_image::layout::make(&spec, out)?))
            .with_context(|| format!("cannot assemble the image {name:?}"))
    }

    /// Makes the layers of an image that `wanted` selects. Skips optional layers without packages.
    fn layers(&self, image: &Image, wanted: fn(&Layer) -> bool) -> Result<Vec<LayerReference>> {
        let linked = self.project.linked(image);
        let mut layers = Vec::new();
        for layer in image.layers.iter().filter(|layer| wanted(layer)) {
            let mut spec: LayerSpec = fill(&layer.spec(image.compression), &mut |it| {
                self.stand(it, &linked)
            })
            .with_context(|| format!("cannot make the layer {:?}", layer.name))?;
            if layer.optional && !has_packages(&spec) {
                continue;
            }
            // The machine's own compiler may lie in a store, so its paths are not forbidden.
            spec.forbidden.clear();
            layers.push(LayerReference::Detailed(DetailedLayer {
                replaces: layer.replaces.clone(),
                only_if_linked: layer.only_if_linked,
                ..LayerReference::Path(self.kept.layer(&layer.name, &spec)?).detailed()
            }));
        }
        Ok(layers)
    }

    /// Returns the current value of a placeholder.
    fn stand(&self, placeholder: Placeholder, linked: &BTreeSet<String>) -> Result<Value> {
        Ok(match placeholder {
            Placeholder::Workspace { path } => json!(self.root.join(path)),
            Placeholder::Part { name, .. } => return Err(no_part(&name, "this engine")),
            Placeholder::Program(binary) => json!(
                self.binaries
                    .get(&binary)
                    .with_context(|| format!("cargo has built no {}", binary.bin))?
            ),
            // Only Nix knows the plan.
            Placeholder::Crates(_) => Value::Null,
            // Only steps have these.
            Placeholder::Below | Placeholder::Base { .. } => return Err(no_step(&[])),
            Placeholder::Image { name } => json!(
                self.made
                    .get(&name)
                    .with_context(|| format!("the image {name:?} is not made yet"))?
            ),
            Placeholder::Packages(packages) => json!(self.packages.of(&packages, linked)?),
        })
    }
}

/// Returns the error for a part. Only Nix makes and downloads parts, and only Nix gets those of a
/// flake.
pub(crate) fn no_part(name: &str, who: &str) -> anyhow::Error {
    anyhow!(
        "{who} can't make {}: only Nix makes parts and downloads files\n  try: `assemble build`, \
         which builds with Nix",
        own_part::shown(name)
    )
}

/// Returns the error for a step. Only Nix runs steps, because nobody knows what a machine's own
/// tools read and change.
pub(crate) fn no_step(run: &[String]) -> anyhow::Error {
    anyhow!(
        "this engine can't run the step {:?}: only Nix runs steps\n  try: `assemble build`, which \
         builds with Nix",
        run.join(" ")
    )
}

fn has_packages(spec: &LayerSpec) -> bool {
    let mut sources = spec.sources.iter();
    sources.any(|source| matches!(source, Source::Debian(debian) if !debian.packages.is_empty()))
}

/// Converts a platform of a description to an image's platform.
pub(crate) fn oci_platform(platform: &TargetPlatform) -> Result<crateyard_oci::Platform> {
    platform
        .to_string()
        .parse()
        .map_err(|problem: String| anyhow!(problem))
}

/// Hashes the inputs of a layer: its specification, and the content of files that may change
/// without a change of their names.
pub(crate) fn key_of(spec: &LayerSpec) -> Result<Digest> {
    let mut hasher = HashingWriter::new(std::io::sink());
    serde_json::to_writer(&mut hasher, spec)?;
    for source in &spec.sources {
        match source {
            Source::File(file) => hash(&file.from, &mut hasher)?,
            Source::Tree(tree) => hash(&tree.from, &mut hasher)?,
            Source::Copy(copy) => hash(&copy.from, &mut hasher)?,
            Source::Chart(chart) => hash(&chart.from, &mut hasher)?,
            // Names of packages and images identify their content.
            _ => {}
        }
    }
    Ok(hasher.finish().1)
}

/// Hashes a file or a tree: names, kinds, executable bits, contents.
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
