//! Runs Nix.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What every call needs, whatever the machine's nix.conf says: flakes, the sandbox, all cores.
const SETTINGS: &str = "\
extra-experimental-features = nix-command flakes
sandbox = true
max-jobs = auto
";

/// The length of the hash and dash that a store path's name starts with.
pub const STORE_HASH: usize = 33;

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
    /// Builds attributes of a flake; their store paths come in the order of `attributes`. Each must be the name of its derivation.
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
        let text = self.read(args)?;
        let built: Vec<Built> =
            serde_json::from_str(&text).context("nix build --json printed no list of outputs")?;
        in_order(built, attributes)
    }

    fn read(&self, args: Vec<OsString>) -> Result<String> {
        let program = which::which("nix").context(
            "`nix` is not installed. `make images` installs it on Debian, or: apt-get install nix-bin",
        )?;
        let output = duct::cmd(&program, args)
            .env("NIX_CONFIG", settings(&program))
            .stdout_capture()
            .unchecked()
            .run()
            .context("cannot start nix")?;
        if !output.status.success() {
            bail!("nix build failed: {}", output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The outputs in the order of the attributes. Nix prints them in an order of its own.
///
/// # Errors
/// When an attribute has no output, or not the name of its derivation.
pub fn in_order(built: Vec<Built>, attributes: &[String]) -> Result<Vec<PathBuf>> {
    let outputs: Vec<PathBuf> = built
        .into_iter()
        .filter_map(|mut built| built.outputs.remove("out"))
        .collect();
    let paths = attributes.iter().map(|attribute| {
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(|name| name.get(STORE_HASH..)) == Some(attribute)
        };
        let found = outputs.iter().find(is_it).cloned();
        found.with_context(|| format!("nix has built no {attribute}"))
    });
    paths.collect()
}

/// The machine's own `NIX_CONFIG` comes after ours, so that people have the last word.
fn settings(program: &Path) -> String {
    let own = std::env::var("NIX_CONFIG").unwrap_or_default();
    let caches = if has_only_the_default_cache(program) {
        "substituters =\n"
    } else {
        ""
    };
    format!("{SETTINGS}{caches}{own}")
}

/// The cache that Nix knows by default is nixpkgs' and holds nothing of ours: asking it for every
/// unit costs a request each, and a wait where it can't be reached.
fn has_only_the_default_cache(program: &Path) -> bool {
    let shown = duct::cmd!(program, "show-config")
        .env("NIX_CONFIG", SETTINGS)
        .stderr_null()
        .unchecked()
        .read()
        .unwrap_or_default();
    let line = shown
        .lines()
        .find(|line| line.starts_with("substituters = "));
    line == Some("substituters = https://cache.nixos.org/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_told_apart_by_name() {
        let output = |hash: char, name: &str| {
            let path = format!(
                "/nix/store/{}-{name}",
                String::from(hash).repeat(STORE_HASH - 1)
            );
            Built {
                outputs: BTreeMap::from([("out".to_owned(), PathBuf::from(path))]),
            }
        };
        let built = || vec![output('a', "app-bare-image"), output('b', "app-image")];
        let attributes = ["app-image", "app-bare-image"].map(str::to_owned);
        let paths = in_order(built(), &attributes).unwrap();
        assert!(paths[0].ends_with(format!("{}-app-image", "b".repeat(STORE_HASH - 1))));
        assert!(in_order(built(), &["other-image".to_owned()]).is_err());
    }
}
