//! Links to images, which Nix knows of, so that they are not collected as garbage.

use super::config::Config;
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Makes each link lead to its store path, which a process of Nix keeps meanwhile. Links that are right stay; one that
/// Nix knows is replaced; Nix makes the others.
///
/// # Errors
/// When Nix can't be started, or a link can't be made.
pub fn make(config: &Config, links: &[(PathBuf, PathBuf)]) -> Result<()> {
    let is_wrong = |(link, path): &&(PathBuf, PathBuf)| {
        !fs::read_link(link).is_ok_and(|target| target == *path)
    };
    let wrong: Vec<&(PathBuf, PathBuf)> = links.iter().filter(is_wrong).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let known = known(config);
    let mut makers: Vec<Child> = Vec::new();
    for (link, path) in wrong {
        match absolute(link).is_some_and(|link| known.contains(&link)) {
            true => replace(link, path)?,
            false => makers.push(start(config, link, path)?),
        }
    }
    makers.into_iter().try_for_each(|mut maker| {
        let status = maker.wait()?;
        ensure!(status.success(), "nix build --out-link failed: {status}");
        Ok(())
    })
}

/// The links outside of the store that Nix follows when it looks for what is in use.
fn known(config: &Config) -> HashSet<PathBuf> {
    let Ok(entries) = fs::read_dir(config.state().join("gcroots/auto")) else {
        return HashSet::new();
    };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.collect()
}

fn absolute(link: &Path) -> Option<PathBuf> {
    Some(link.parent()?.canonicalize().ok()?.join(link.file_name()?))
}

fn replace(link: &Path, path: &Path) -> Result<()> {
    let beside = link.with_extension("new");
    let failed = || format!("cannot make the link {}", link.display());
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    symlink(path, &beside).with_context(failed)?;
    fs::rename(&beside, link).with_context(failed)
}

fn start(config: &Config, link: &Path, path: &Path) -> Result<Child> {
    let mut command = Command::new(&config.nix);
    command.args(["build".as_ref(), "--out-link".as_ref(), link, path]);
    command.env("NIX_CONFIG", &config.text);
    drive::process::end_with_parent(&mut command);
    command.spawn().context("cannot start nix")
}
