//! Reads the archives of `[debian.sources]`: their addresses, and the keys that sign them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use crateyard_debian::apt::Source;
use crateyard_debian::keys::{Keys, MACHINE_KEYRINGS};
use crateyard_debian::lock::Suite;
use crateyard_description::{AptSource, Description};

/// Returns the suites of these archives, by name.
pub fn suites(description: &Description) -> impl Iterator<Item = Suite> {
    let sources = description.debian.sources.iter();
    sources.map(|(name, source)| Suite {
        name: source.suite.clone(),
        archive: name.clone(),
        components: source.components.clone(),
        url: Some(source.url.clone()),
    })
}

/// Returns the data that apt needs about each archive.
///
/// # Errors
/// When a key can't be read.
pub fn keys(description: &Description, workspace: &Path) -> Result<BTreeMap<String, Source>> {
    let sources = description.debian.sources.iter();
    sources
        .map(|(name, source)| {
            let keys = keys_of(source, workspace)
                .with_context(|| format!("the signing key of [debian.sources.{name}]"))?;
            let source = Source {
                keys,
                architectures: source.architectures.clone(),
            };
            Ok((name.clone(), source))
        })
        .collect()
}

fn keys_of(source: &AptSource, workspace: &Path) -> Result<Keys> {
    let fingerprint = source.fingerprint.as_deref();
    let Some(file) = &source.key else {
        let fingerprint = fingerprint.unwrap_or_default();
        return Ok(Keys::of_machine(fingerprint, &MACHINE_KEYRINGS)?);
    };
    crateyard_workspace::files::check_files(workspace, &[file])?;
    let path = workspace.join(file);
    ensure!(
        path.exists(),
        "there is no file {}; save the vendor's public key there",
        path.display()
    );
    let keys = Keys::read(&path)?;
    Ok(match fingerprint {
        Some(fingerprint) => keys.only(fingerprint),
        None => keys,
    })
}
