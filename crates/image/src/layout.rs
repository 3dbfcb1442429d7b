//! Joins layers and a configuration into an OCI image layout of real files.

mod check;
mod config;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;

use crateyard_oci::{Descriptor, ImageConfig, ImageName, Layout, Manifest, media_type};

pub(crate) use writer::Writer;

use crate::attestation;
use crate::files::{Listing, Options};
use crate::layer;
use crate::output::OutputDir;
use crate::packages;
use crate::spec::{
    self, Config, DetailedLayer, EntryRecord, ImageSpec, InputsSpec, LayerEntries, LayerPackages,
    LayerRecord, PackageDetails,
};
use crate::{Error, Result};

/// Makes the layout of an image in the directory `out` and returns the manifest's descriptor.
///
/// # Errors
/// When a layer is missing or damaged, two layers have the same file, the configuration makes no
/// sense or the disk is full. Nothing is left at `out` then.
pub fn make(spec: &ImageSpec, out: &Path) -> Result<Descriptor> {
    let references = parse_references(&spec.references)?;
    let base = spec
        .base
        .as_deref()
        .map(|path| Base::open(path, spec))
        .transpose()?;
    let layers = linked_layers(base.as_ref(), read_layers(spec)?)?;
    let paths = check::layers(base.as_ref(), &layers)?;
    let config = config::merge(spec, base.as_ref(), &layers)?;
    check_programs(&spec.config, &paths)?;
    // Nobody runs an image without a base and without packages; others copy from it.
    let has_system = base.is_some() || layers.iter().any(Layer::has_packages);
    for layer in layers.iter().filter(|_| has_system) {
        paths.check_libraries(layer)?;
    }

    let mut writer = Writer::create(out)?;
    let mut descriptors = Vec::new();
    if let Some(base) = &base {
        for layer in &base.manifest.layers {
            writer.copy(&base.layout, layer)?;
            descriptors.push(own_dialect(layer));
        }
    }
    for layer in &layers {
        let descriptor = layer.descriptor();
        writer.copy_file(&layer.reference.path.join(layer::BLOB), &descriptor)?;
        descriptors.push(descriptor);
    }
    let described = writer.add_json(media_type::CONFIG, &config)?;
    let mut manifest = Manifest::new(described, descriptors);
    manifest.annotations = spec.annotations.clone();
    let mut descriptor = writer.add_json(media_type::MANIFEST, &manifest)?;
    descriptor.platform = Some(spec.platform.clone());
    if let Some(inputs) = &spec.inputs {
        let image = Finished {
            spec,
            references: &references,
            config: &config,
            layers: &layers,
            base: base.as_ref(),
            manifest: &descriptor,
        };
        image.write_documents(&writer.output, inputs)?;
    }
    writer.finish(&descriptor.named(&references))?;
    Ok(descriptor)
}

/// Drops each layer that is only there for its libraries, unless it has a library that a program
/// needs and no other layer has.
fn linked_layers(base: Option<&Base>, layers: Vec<Layer>) -> Result<Vec<Layer>> {
    let is_firm = |layer: &&Layer| !layer.reference.only_if_linked;
    if layers.iter().all(|layer| is_firm(&layer)) {
        return Ok(layers);
    }
    let firm = || layers.iter().filter(is_firm);
    let paths = check::layers(base, firm())?;
    let missing: Vec<&str> = firm()
        .flat_map(|layer| paths.missing_libraries(layer))
        .map(|(_, library)| library)
        .collect();
    let has_one = |layer: &Layer| missing.iter().any(|library| layer.has_file_named(library));
    let is_taken = |layer: &Layer| is_firm(&layer) || has_one(layer);
    let taken: Vec<bool> = layers.iter().map(is_taken).collect();
    let all = layers.into_iter().zip(taken);
    Ok(all
        .filter_map(|(layer, taken)| taken.then_some(layer))
        .collect())
}

/// Returns the comment and the descriptor of each layer.
fn named_layers(layers: &[Layer]) -> Vec<(String, Descriptor)> {
    let named = |layer: &Layer| (layer.record.comment.clone(), layer.descriptor());
    layers.iter().map(named).collect()
}

/// A finished image and the inputs that it was made from.
struct Finished<'a> {
    spec: &'a ImageSpec,
    references: &'a [ImageName],
    config: &'a ImageConfig,
    layers: &'a [Layer],
    base: Option<&'a Base>,
    manifest: &'a Descriptor,
}

impl Finished<'_> {
    /// Writes the documents about the image's contents.
    fn write_documents(&self, output: &OutputDir, inputs: &InputsSpec) -> Result<()> {
        let config = self.config.config.as_ref();
        let labels = config.and_then(|it| it.labels.clone()).unwrap_or_default();
        let base = self.base.map(Base::facts);
        let subject = attestation::Subject {
            name: &self.spec.name,
            version: self.references.first().map(ImageName::tag),
            labels: &labels,
            platform: &self.spec.platform,
            manifest: self.manifest,
            layers: &named_layers(self.layers),
            packages: &read_packages(self.layers)?,
            programs: &programs(self.layers),
            base: base.as_ref(),
        };
        let mut inputs = inputs.clone();
        let packages = self
            .layers
            .iter()
            .flat_map(|layer| &layer.reference.packages);
        inputs.packages.extend(packages.cloned());
        attestation::write(output, &subject, &inputs)
    }
}

/// Reads the details of the Debian packages of the layers.
fn read_packages(layers: &[Layer]) -> Result<Vec<PackageDetails>> {
    let mut all = Vec::new();
    for layer in layers {
        let path = layer.reference.path.join(layer::PACKAGES);
        // Layers of an earlier version lack the file.
        if path.exists() {
            all.extend(spec::read::<LayerPackages>(&path)?.packages);
        }
    }
    Ok(all)
}

/// Returns the records of the layers' entries that have a digest, by path without leading slash.
fn programs(layers: &[Layer]) -> BTreeMap<String, EntryRecord> {
    let entries = layers.iter().flat_map(|layer| &layer.entries.entries);
    entries
        .filter(|entry| entry.digest.is_some())
        .map(|entry| (entry.path.clone(), entry.clone()))
        .collect()
}

/// Checks that the programs which the specification names are in the image.
fn check_programs(config: &Config, paths: &check::Paths) -> Result<()> {
    if let Some(program) = config.entrypoint.as_ref().and_then(|words| words.first()) {
        paths.check_program("config.entrypoint", program)?;
    }
    let check = config.healthcheck.as_ref().map(|check| &check.test[..]);
    match check {
        Some([kind, program, ..]) if kind == "CMD" => {
            paths.check_program("config.healthcheck.test", program)
        }
        _ => Ok(()),
    }
}

/// A layer that `image layer` made.
struct Layer {
    reference: DetailedLayer,
    record: LayerRecord,
    entries: LayerEntries,
}

impl Layer {
    fn descriptor(&self) -> Descriptor {
        let record = &self.record;
        Descriptor::new(&record.media_type, record.digest.clone(), record.size)
    }

    fn has_packages(&self) -> bool {
        !self.record.debian_packages.is_empty()
    }

    /// Whether the layer has a file of that name in any directory.
    fn has_file_named(&self, name: &str) -> bool {
        let suffix = format!("/{name}");
        let mut entries = self.entries.entries.iter();
        entries.any(|entry| entry.path.ends_with(&suffix))
    }

    /// Returns the layer's name for messages.
    fn title(&self) -> String {
        let name = self.reference.path.file_name().unwrap_or_default();
        match self.record.comment.as_str() {
            "" => format!("layer {}", name.to_string_lossy()),
            comment => format!("layer {comment:?}"),
        }
    }
}

fn read_layers(spec: &ImageSpec) -> Result<Vec<Layer>> {
    let read = |reference: &spec::LayerReference| {
        let reference = reference.detailed();
        Ok(Layer {
            record: spec::read(&reference.path.join(layer::RECORD))?,
            entries: spec::read(&reference.path.join(layer::ENTRIES))?,
            reference,
        })
    };
    spec.layers.iter().map(read).collect()
}

/// The base image.
struct Base {
    layout: Layout,
    descriptor: Descriptor,
    names: Vec<String>,
    manifest: Manifest,
    config: ImageConfig,
    listing: Listing,
}

impl Base {
    fn open(path: &Path, spec: &ImageSpec) -> Result<Base> {
        let layout = Layout::open(path)?;
        let image = layout.image(None, Some(&spec.platform))?;
        let manifest = layout.manifest(&image.descriptor)?;
        let config = layout.config(&manifest)?;
        if !config.platform.satisfies(&spec.platform) {
            return Err(Error::spec(
                "base",
                format!(
                    "{} is for {}, the image {} for {}",
                    path.display(),
                    config.platform,
                    spec.name,
                    spec.platform
                ),
                "use a base for that platform",
            ));
        }
        let options = Options {
            crates: true,
            licenses: true,
            ..Options::default()
        };
        let listing = Listing::read(&layout, &manifest, &options)?;
        Ok(Base {
            listing,
            layout,
            descriptor: image.descriptor,
            names: image.names,
            manifest,
            config,
        })
    }
}

impl Base {
    /// Returns the facts that the bill of materials states about the base.
    fn facts(&self) -> attestation::BaseFacts<'_> {
        attestation::BaseFacts {
            manifest: &self.descriptor,
            names: &self.names,
            packages: packages::details(&self.listing),
            distribution: packages::Distribution::of(&self.listing),
            crates: self.listing.crates(),
        }
    }
}

/// Replaces docker's media types, which a base written by docker has: they do not mix with an OCI
/// manifest.
fn own_dialect(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        media_type::DOCKER_LAYER => media_type::LAYER,
        media_type::DOCKER_LAYER_GZIP => media_type::LAYER_GZIP,
        media_type::DOCKER_LAYER_ZSTD => media_type::LAYER_ZSTD,
        other => other,
    };
    Descriptor {
        media_type: media_type.to_owned(),
        ..layer.clone()
    }
}

pub(crate) fn parse_references(references: &[String]) -> Result<Vec<ImageName>> {
    let parse = |(number, text): (usize, &String)| {
        text.parse().map_err(|error| {
            let at = format!("references[{number}]");
            Error::spec(at, format!("{error}"), "correct it")
        })
    };
    references.iter().enumerate().map(parse).collect()
}
