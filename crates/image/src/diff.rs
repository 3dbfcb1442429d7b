//! The differences between two images: configuration, layers, files, Debian packages, crates.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::{Blobs, Descriptor, Digest, ImageConfig, Manifest};
use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::files::{ENTRY, File, Listing, Options, size_of_xattrs};
use crate::packages;

/// One of the two images.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The source of the image's blobs.
    pub blobs: &'a dyn Blobs,
    /// The image's manifest.
    pub manifest: &'a Manifest,
    /// The image's configuration.
    pub config: &'a ImageConfig,
    /// The crates in the image's programs by path, from a document about the image. A program's own
    /// list takes precedence.
    pub crates: &'a BTreeMap<String, Vec<packages::Crate>>,
}

/// The changes from one image to another. All lists are sorted, and empty if nothing changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageDiff {
    /// Fields of the configuration, such as `config.Env.PATH`.
    pub config: Vec<Change>,
    /// Layers that only one of the images has.
    pub layers: Vec<LayerChange>,
    /// The number of layers that both images have.
    pub layers_in_common: usize,
    /// Files.
    pub files: Vec<FileChange>,
    /// The number of files that differ only in their times.
    pub files_with_other_time: usize,
    /// Debian packages by name, with their versions.
    pub packages: Vec<Change>,
    /// Crates by name, with their versions, as far as the executables list them.
    pub crates: Vec<Change>,
}

impl ImageDiff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self
            == ImageDiff {
                layers_in_common: self.layers_in_common,
                ..ImageDiff::default()
            }
    }
}

/// A value before and after. `None` means that there is no value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The name of the value.
    pub name: String,
    /// The value in the first image.
    pub before: Option<String>,
    /// The value in the second image.
    pub after: Option<String>,
}

/// A layer that only one of the images has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerChange {
    /// The layer's comment in the image's history.
    pub comment: Option<String>,
    /// The layer's digest and size in the first image.
    pub before: Option<(Digest, u64)>,
    /// The layer's digest and size in the second image.
    pub after: Option<(Digest, u64)>,
}

/// A file that was added, removed or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// The file's path, without leading slash.
    pub path: String,
    /// The Debian package that the file belongs to.
    pub package: Option<String>,
    /// The file in the first image.
    pub before: Option<File>,
    /// The file in the second image.
    pub after: Option<File>,
    /// The properties that differ: `kind`, `mode`, `owner`, `target`, `xattrs`, `content`.
    pub differs: Vec<&'static str>,
}

/// Compares two images. Reads every layer of both.
///
/// # Errors
/// When a layer is missing or damaged.
pub fn compare(before: Side<'_>, after: Side<'_>) -> Result<ImageDiff> {
    let common = common_layers(before.manifest, after.manifest);
    let options = Options {
        hash: true,
        crates: true,
        ..Options::default()
    };
    let one = Listing::read(before.blobs, before.manifest, &options)?;
    let other = Listing::read(after.blobs, after.manifest, &options)?;
    let keep = |bytes| before.blobs.budget().keep("the difference", bytes);
    let (files, files_with_other_time) = files(&one, &other, &keep)?;
    Ok(ImageDiff {
        config: config(before.config, after.config),
        layers: layers(before, after, &common),
        layers_in_common: common.len(),
        files,
        files_with_other_time,
        packages: changes(&package_versions(&one)?, &package_versions(&other)?),
        crates: changes(
            &crate_versions(&packages::crates(&one, before.crates)),
            &crate_versions(&packages::crates(&other, after.crates)),
        ),
    })
}

/// Compares configurations field by field. Layers and history are compared elsewhere.
pub fn config(before: &ImageConfig, after: &ImageConfig) -> Vec<Change> {
    let flat = |config: &ImageConfig| {
        let mut fields = BTreeMap::new();
        let mut value = serde_json::to_value(config).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.remove("rootfs");
            object.remove("history");
        }
        flatten("", &value, &mut fields);
        fields
    };
    changes(&flat(before), &flat(after))
}

/// Flattens a document into fields with dotted names. Environment variables become fields.
fn flatten(name: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    let below = |key: &str| match name {
        "" => key.to_owned(),
        _ => format!("{name}.{key}"),
    };
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                flatten(&below(key), value, fields);
            }
        }
        Value::Array(variables) if name == "config.Env" => {
            for variable in variables.iter().filter_map(Value::as_str) {
                let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
                fields.insert(below(key), value.to_owned());
            }
        }
        Value::String(text) => {
            fields.insert(name.to_owned(), text.clone());
        }
        other => {
            fields.insert(name.to_owned(), other.to_string());
        }
    }
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| Change {
        name: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    };
    let all = names.into_iter().map(change);
    all.filter(|change| change.before != change.after).collect()
}

fn common_layers(before: &Manifest, after: &Manifest) -> BTreeSet<Digest> {
    let digests = |manifest: &Manifest| -> BTreeSet<Digest> {
        let layers = manifest.layers.iter();
        layers.map(|layer| layer.digest.clone()).collect()
    };
    &digests(before) & &digests(after)
}

/// Returns the layers that only one side has. Two layers with the same comment count as one that
/// changed.
fn layers(before: Side<'_>, after: Side<'_>, common: &BTreeSet<Digest>) -> Vec<LayerChange> {
    let place = |layer: &Descriptor| Some((layer.digest.clone(), layer.size));
    let mut changes: Vec<LayerChange> = own_layers(before, common)
        .map(|(layer, comment)| LayerChange {
            comment,
            before: place(layer),
            after: None,
        })
        .collect();
    for (layer, comment) in own_layers(after, common) {
        let counterpart = changes.iter_mut().find(|change| {
            comment.is_some() && change.comment == comment && change.after.is_none()
        });
        match counterpart {
            Some(change) => change.after = place(layer),
            None => changes.push(LayerChange {
                comment,
                before: None,
                after: place(layer),
            }),
        }
    }
    changes
}

fn own_layers<'a>(
    side: Side<'a>,
    common: &'a BTreeSet<Digest>,
) -> impl Iterator<Item = (&'a Descriptor, Option<String>)> {
    let steps = side.config.history.iter();
    let comments = steps
        .filter(|step| step.empty_layer != Some(true))
        .map(|step| step.comment.clone().or_else(|| step.created_by.clone()))
        .chain(std::iter::repeat(None));
    let layers = side.manifest.layers.iter().zip(comments);
    layers.filter(|(layer, _)| !common.contains(&layer.digest))
}

fn files(
    one: &Listing,
    other: &Listing,
    keep: &dyn Fn(u64) -> crateyard_oci::Result<()>,
) -> Result<(Vec<FileChange>, usize)> {
    let (owners_before, owners_after) = (packages::owners(one), packages::owners(other));
    let paths = one.files().chain(other.files()).map(|(path, _)| path);
    let paths: BTreeSet<&str> = paths.collect();
    let mut changes = Vec::new();
    let mut other_time = 0;
    for path in paths {
        let (old, new) = (one.get(path), other.get(path));
        let mut differs = Vec::new();
        if let (Some(old), Some(new)) = (old, new) {
            differs = differences(old, new);
            if differs.is_empty() {
                other_time += usize::from(old.mtime != new.mtime);
                continue;
            }
        }
        // Pay for both files, and for their attributes in the output.
        let xattrs = [old, new]
            .into_iter()
            .flatten()
            .map(|file| size_of_xattrs(&file.xattrs));
        keep(4 * ENTRY + 2 * path.len() as u64 + xattrs.sum::<u64>())?;
        let owner = owners_after.get(path).or_else(|| owners_before.get(path));
        changes.push(FileChange {
            path: path.to_owned(),
            package: owner.cloned(),
            before: old.cloned(),
            after: new.cloned(),
            differs,
        });
    }
    Ok((changes, other_time))
}

fn differences(old: &File, new: &File) -> Vec<&'static str> {
    let checks = [
        ("kind", old.kind == new.kind),
        ("mode", old.mode == new.mode),
        ("owner", (old.uid, old.gid) == (new.uid, new.gid)),
        ("target", old.target == new.target),
        ("xattrs", old.xattrs == new.xattrs),
        (
            "content",
            (old.size, &old.digest) == (new.size, &new.digest),
        ),
    ];
    let different = checks.iter().filter(|(_, same)| !same);
    different.map(|(what, _)| *what).collect()
}

fn package_versions(listing: &Listing) -> Result<BTreeMap<String, String>> {
    let name_and_version = |package: packages::DebianPackage| {
        let name = match package.arch.as_str() {
            "all" => package.name,
            arch => format!("{}:{arch}", package.name),
        };
        (name, package.version)
    };
    let packages = packages::installed(listing)?;
    Ok(packages.into_iter().map(name_and_version).collect())
}

/// Returns all versions of each crate in any executable.
fn crate_versions(crates: &BTreeMap<&str, &[packages::Crate]>) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for one in crates.values().copied().flatten() {
        let known = versions.entry(one.name.clone()).or_default();
        known.insert(&one.version);
    }
    let joined = |(name, versions): (String, BTreeSet<&str>)| {
        let versions: Vec<&str> = versions.into_iter().collect();
        (name, versions.join(", "))
    };
    versions.into_iter().map(joined).collect()
}
