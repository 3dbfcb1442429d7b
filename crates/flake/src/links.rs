//! Links to images that Nix knows, so that garbage collection keeps the images.

use super::config::NixConfig;
use anyhow::{Context, Result, ensure};
use crateyard_nix::environment;
use crateyard_workspace::state::State;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Makes each link lead to its store path, while a process of Nix keeps the path. Correct links
/// stay. Links that Nix already knows are replaced here, and Nix makes the others.
///
/// # Errors
/// When Nix can't be started, or a link can't be made.
pub(crate) fn make(config: &NixConfig, state: &State, links: &[(String, PathBuf)]) -> Result<()> {
    let is_wrong =
        |(name, path): &&(String, PathBuf)| state.link_target(name).as_ref() != Some(path);
    let wrong: Vec<&(String, PathBuf)> = links.iter().filter(is_wrong).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let known = known(config);
    let place = state.path().canonicalize()?;
    let mut makers: Vec<Child> = Vec::new();
    for (name, path) in wrong {
        let link = place.join(name);
        match known.contains(&link) {
            true => state
                .link(name, path)
                .with_context(|| format!("cannot make the link {}", link.display()))?,
            false => makers.push(start(config, &link, path)?),
        }
    }
    makers.into_iter().try_for_each(|mut maker| {
        let status = maker.wait()?;
        ensure!(status.success(), "nix build --out-link failed: {status}");
        Ok(())
    })
}

/// Lists the links outside the store that Nix follows to find paths in use.
fn known(config: &NixConfig) -> HashSet<PathBuf> {
    let Ok(entries) = fs::read_dir(config.state().join("gcroots/auto")) else {
        return HashSet::new();
    };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.collect()
}

fn start(config: &NixConfig, link: &Path, path: &Path) -> Result<Child> {
    let mut command = environment::nix(&config.nix);
    command.args(["build".as_ref(), "--out-link".as_ref(), link, path]);
    command.env("NIX_CONFIG", &config.text);
    crateyard_nix::process::end_with_parent(&mut command);
    command.spawn().context("cannot start nix")
}
