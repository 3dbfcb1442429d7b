//! Runs Nix.

mod arguments;
mod config;
pub mod driven;
mod progress;

use anyhow::{Context, Result, bail};
use config::Config;
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
        let config = Config::read()?;
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
        built
            .into_iter()
            .map(|b| {
                b.outputs
                    .get("out")
                    .cloned()
                    .context("nix built something without output")
            })
            .collect()
    }
}

impl Nix {
    /// The `.drv` files of attributes, in an order of Nix's own. What evaluation reads is built.
    ///
    /// # Errors
    /// When Nix is not installed or evaluation fails; Nix has then shown why.
    pub fn derivations(&self, flake: &str, attributes: &[String]) -> Result<Vec<String>> {
        let mut args: Vec<OsString> = vec!["path-info".into(), "--derivation".into()];
        if let Some(store) = &self.store {
            args.extend(["--store".into(), store.into()]);
        }
        let attributes = attributes.iter();
        args.extend(attributes.map(|name| format!("{flake}#{name}").into()));
        let printed = read(&Config::read()?, args)?;
        Ok(printed.lines().map(str::to_owned).collect())
    }
}

fn read(config: &Config, args: Vec<OsString>) -> Result<String> {
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
        bail!("nix failed: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
