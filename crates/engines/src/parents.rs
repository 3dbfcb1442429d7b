//! Makes the images that the Docker engine starts from, out of debian.lock, as
//! nix/image/parents.nix does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use crateyard_description::TargetPlatform;
use crateyard_image::compress::{Compression, CompressionAlgorithm};
use crateyard_image::spec::{
    CaCertificatesSource, Config, DebianSource, FormatVersion, ImageSpec, LayerReference,
    LayerSpec, Source, SymlinkSource, Variable,
};
use crateyard_spec::{CA_BUNDLE, DEFAULT_PATH, Packages as Placed, SetReference, unneeded};

use super::images::oci_platform;
use super::kept::Kept;
use super::packages::Packages;

/// Makes the builder image: Cargo, rustc, C and C++ compilers, a shell.
pub(crate) fn builder(
    kept: &Kept,
    packages: &Packages,
    set: &str,
    platform: &TargetPlatform,
) -> Result<PathBuf> {
    let links: BTreeMap<String, String> = serde_json::from_str(crateyard_debian::ALTERNATIVES)?;
    let link = |(path, target)| {
        Source::Symlink(SymlinkSource {
            to: format!("/{path}"),
            target,
        })
    };
    let mut sources = vec![packages_of(all_of(packages, set)?)];
    sources.extend(links.into_iter().map(link));
    parent(kept, "builder", sources, platform)
}

/// Makes a layout that images start from.
pub(crate) fn base(
    kept: &Kept,
    packages: &Packages,
    set: &str,
    platform: &TargetPlatform,
) -> Result<PathBuf> {
    let files = all_of(packages, set)?;
    let certificates = Source::CaCertificates(CaCertificatesSource {
        packages: files.clone(),
        to: CA_BUNDLE.to_owned(),
    });
    parent(
        kept,
        "base",
        vec![packages_of(files), certificates],
        platform,
    )
}

fn all_of(packages: &Packages, set: &str) -> Result<Vec<PathBuf>> {
    let placed = Placed {
        of: SetReference {
            set: set.to_owned(),
            linked_from: None,
        },
        named: Vec::new(),
        beyond: Vec::new(),
    };
    packages.of(&placed, &BTreeSet::new())
}

fn packages_of(packages: Vec<PathBuf>) -> Source {
    Source::Debian(DebianSource {
        packages,
        exclude: unneeded(),
        also_installed: Vec::new(),
    })
}

fn parent(
    kept: &Kept,
    name: &str,
    sources: Vec<Source>,
    platform: &TargetPlatform,
) -> Result<PathBuf> {
    let layer = LayerSpec {
        version: FormatVersion,
        comment: name.to_owned(),
        compression: Compression {
            algorithm: CompressionAlgorithm::Zstd,
            level: Some(3),
        },
        epoch: 0,
        forbidden: Vec::new(),
        sources,
    };
    let spec = ImageSpec {
        layers: vec![LayerReference::Path(kept.layer(name, &layer)?)],
        ..spec(name, platform)?
    };
    kept.image(name, |out| Ok(crateyard_image::layout::make(&spec, out)?))
        .with_context(|| format!("cannot assemble the image {name:?}"))
}

/// Returns an image without layers, with the search path of Debian's programs.
pub(crate) fn spec(name: &str, platform: &TargetPlatform) -> Result<ImageSpec> {
    Ok(ImageSpec {
        version: FormatVersion,
        name: name.to_owned(),
        references: vec![format!("{name}:latest")],
        platform: oci_platform(platform)?,
        base: None,
        layers: Vec::new(),
        config: Config {
            env: vec![Variable {
                name: "PATH".to_owned(),
                value: DEFAULT_PATH.to_owned(),
            }],
            ..Config::default()
        },
        annotations: BTreeMap::new(),
        created: 0,
        inputs: None,
    })
}
