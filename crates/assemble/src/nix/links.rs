//! Links to images, which Nix knows of, so that they are not collected as garbage.

use super::config::Config;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Makes each link lead to its store path. Links that are right stay.
///
/// # Errors
/// When Nix can't be started, or a link can't be made.
pub fn make(config: &Config, links: &[(PathBuf, PathBuf)]) -> Result<()> {
    let is_wrong = |(link, path): &&(PathBuf, PathBuf)| {
        !std::fs::read_link(link).is_ok_and(|target| target == *path)
    };
    let makers: Vec<Child> = links
        .iter()
        .filter(is_wrong)
        .map(|(link, path)| start(config, link, path))
        .collect::<Result<_>>()?;
    makers.into_iter().try_for_each(|mut maker| {
        let status = maker.wait()?;
        ensure!(status.success(), "nix build --out-link failed: {status}");
        Ok(())
    })
}

fn start(config: &Config, link: &Path, path: &Path) -> Result<Child> {
    let mut command = Command::new(&config.nix);
    command.args(["build".as_ref(), "--out-link".as_ref(), link, path]);
    command.env("NIX_CONFIG", &config.text);
    drive::process::end_with_parent(&mut command);
    command.spawn().context("cannot start nix")
}
