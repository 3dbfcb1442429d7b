//! The images that the Docker way begins with, from debian.lock: what nix/image/parents.nix says, done here and now.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use description::Platform;
use image::compress::{Algorithm, Compression};
use image::spec::{
    ConfigSpec, DebianSource, ImageSpec, LayerReference, LayerSpec, Source, SymlinkSource,
    Variable, Version,
};

use super::images::base_packages;
use super::kept::Kept;
use super::packages::Packages;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Cargo, rustc, C and C++ compilers, a shell.
pub fn builder(
    kept: &Kept,
    packages: &Packages,
    set: &str,
    platform: &Platform,
) -> Result<PathBuf> {
    let links: BTreeMap<String, String> = serde_json::from_str(debian::ALTERNATIVES)?;
    let link = |(path, target)| {
        Source::Symlink(SymlinkSource {
            to: format!("/{path}"),
            target,
        })
    };
    let mut sources = vec![Source::Debian(DebianSource {
        packages: packages.of_set(set)?,
        exclude: serde_json::from_str(image::layer::UNNEEDED)?,
        also_installed: Vec::new(),
    })];
    sources.extend(links.into_iter().map(link));
    parent(kept, "builder", sources, platform)
}

/// What images begin with.
pub fn base(kept: &Kept, packages: &Packages, set: &str, platform: &Platform) -> Result<PathBuf> {
    parent(kept, "base", base_packages(packages, set)?, platform)
}

fn parent(kept: &Kept, name: &str, sources: Vec<Source>, platform: &Platform) -> Result<PathBuf> {
    let layer = LayerSpec {
        version: Version,
        comment: name.to_owned(),
        compression: Compression {
            algorithm: Algorithm::Zstd,
            level: Some(3),
        },
        epoch: 0,
        forbidden: Vec::new(),
        sources,
    };
    let spec = ImageSpec {
        version: Version,
        name: name.to_owned(),
        references: vec![format!("{name}:latest")],
        platform: serde_json::from_value(serde_json::to_value(platform)?)?,
        base: None,
        layers: vec![LayerReference::Path(kept.layer(name, &layer)?)],
        config: ConfigSpec {
            env: vec![Variable {
                name: "PATH".to_owned(),
                value: PATH.to_owned(),
            }],
            ..ConfigSpec::default()
        },
        annotations: BTreeMap::new(),
        created: 0,
        inputs: None,
    };
    kept.image(name, |out| Ok(image::assemble::make(&spec, out)?))
        .with_context(|| format!("cannot assemble the image {name:?}"))
}
