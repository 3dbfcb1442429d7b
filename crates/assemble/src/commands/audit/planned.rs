//! Reads images that are not built yet, from their derivations.

use std::path::Path;

use anyhow::{Context, Result, bail};
use crateyard_audit::subject::Subject;
use crateyard_flake::Nix;
use crateyard_image::spec::ImageSpec;
use crateyard_nix::{Store, name_of};
use crateyard_workspace::described::wanted;
use serde_json::Value;

use super::Target;

/// Returns the workspace's images with these names, or all of them if there are no names. Nix
/// evaluates them, and builds only the derivations that evaluation reads.
///
/// # Errors
/// When the workspace does not describe such an image, or Nix can't evaluate it.
pub fn targets(workspace: &Path, names: &[String]) -> Result<Vec<Target>> {
    let names = wanted(workspace, names)?;
    let attributes: Vec<String> = names.iter().map(|name| format!("{name}-image")).collect();
    crateyard_workspace::git::check(workspace)?;
    let nix = Nix::default();
    let flake = nix.flake(workspace)?;
    let store = Store::default();
    let mut targets = Vec::new();
    for derivation in nix.images(&flake, &attributes)? {
        for spec in specs(&store, &derivation)? {
            let Some(inputs) = &spec.inputs else {
                bail!("{derivation} does not say what {} is made of", spec.name);
            };
            targets.push(Target {
                subject: Subject::planned(&spec.name, &spec.platform, inputs),
                is_own: true,
                published: None,
            });
        }
    }
    Ok(targets)
}

/// Reads the specifications in an image's derivation: one for each platform.
fn specs(store: &Store, path: &str) -> Result<Vec<ImageSpec>> {
    let derivation = store.derivation(path)?;
    let text = derivation.env.get("spec");
    let text = text.with_context(|| format!("{path} is not the derivation of an image"))?;
    let spec: Value = serde_json::from_str(text).with_context(|| path.to_owned())?;
    if spec.get("layouts").is_none() {
        return Ok(vec![
            serde_json::from_value(spec).with_context(|| path.to_owned())?,
        ]);
    }
    let name = name_of(path);
    let layouts = derivation.input_derivations.keys();
    let mut specs_of_all = Vec::new();
    for layout in layouts.filter(|it| name_of(it) == name) {
        specs_of_all.extend(specs(store, layout)?);
    }
    Ok(specs_of_all)
}
