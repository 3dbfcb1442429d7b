//! Runs Nix.

mod arguments;
mod config;
pub mod driven;
mod progress;

use anyhow::{Context, Result, bail};
pub use config::Config;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `nix build --json` says of one installable.
#[derive(Debug, Deserialize)]
pub struct Built {
    /// Output name to store path.
    pub outputs: BTreeMap<String, PathBuf>,
}

/// How Nix is to be called.
#[derive(Clone, Debug, Default)]
pub struct Nix {
    /// Another store than the machine's own.
    pub store: Option<String>,
    /// More arguments for `nix build`.
    pub extra: Vec<OsString>,
    /// More lines of nix.conf: the caches of `--cache`.
    pub settings: String,
}

impl Nix {
    /// Builds attributes of a flake with `nix build`; their store paths come in the order of
    /// `attributes`.
    ///
    /// `out_link`, if given, is where Nix keeps links to the results, so that they are not
    /// collected as garbage.
    ///
    /// # Errors
    /// When Nix is not installed or a build fails; Nix has then shown why.
    pub fn build(
        &self,
        flake: &str,
        attributes: &[String],
        out_link: Option<&Path>,
    ) -> Result<Vec<PathBuf>> {
        let config = self.config()?;
        let mut args: Vec<OsString> = vec!["build".into(), "--json".into()];
        match out_link {
            Some(link) => args.extend(["--out-link".into(), link.into()]),
            None => args.push("--no-link".into()),
        }
        if let Some(store) = &self.store {
            args.extend(["--store".into(), store.into()]);
        }
        args.extend(self.extra.iter().cloned());
        args.extend(
            attributes
                .iter()
                .map(|name| format!("{flake}#{name}").into()),
        );
        let text = read(&config, args)?;
        let built: Vec<Built> =
            serde_json::from_str(&text).context("nix build --json printed no list of outputs")?;
        if built.len() != attributes.len() {
            bail!("nix built {} of {} things", built.len(), attributes.len());
        }
        let paths: Vec<PathBuf> = built
            .into_iter()
            .map(|b| {
                b.outputs
                    .get("out")
                    .cloned()
                    .context("nix built something without output")
            })
            .collect::<Result<_>>()?;
        Ok(in_order(paths, attributes))
    }

    /// Runs `nix` with arguments, and gives what it prints.
    ///
    /// # Errors
    /// When Nix is not installed or fails; it has then shown why.
    pub fn read(&self, args: Vec<OsString>) -> Result<String> {
        read(&self.config()?, args)
    }

    /// Where Nix is, and how it is set for these calls.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn config(&self) -> Result<Config> {
        Config::read(&self.settings)
    }
}

/// Nix prints results in an order of its own; the name of a store path says which attribute it is.
fn in_order(mut paths: Vec<PathBuf>, attributes: &[String]) -> Vec<PathBuf> {
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split_once('-').map(|(_, name)| name.to_owned());
        attributes
            .iter()
            .position(|attribute| Some(attribute) == name.as_ref())
    };
    if paths.iter().all(|path| wanted(path).is_some()) {
        paths.sort_by_key(wanted);
    }
    paths
}

fn read(config: &Config, args: Vec<OsString>) -> Result<String> {
    let what = args[0].to_string_lossy().into_owned();
    let output = duct::cmd(&config.nix, args)
        .env("NIX_CONFIG", &config.text)
        .stdout_capture()
        .unchecked()
        .before_spawn(|command| {
            drive::process::end_with_parent(command);
            Ok(())
        })
        .run()
        .context("cannot start nix")?;
    if !output.status.success() {
        bail!("nix {what} failed: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
