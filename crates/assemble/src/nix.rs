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
    /// Builds attributes of a flake; their store paths come in the order of `attributes`.
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
    fn results_come_in_the_order_of_what_was_asked_for() {
        let path = |name: &str| PathBuf::from(format!("/nix/store/0123456789-{name}"));
        let asked = ["gateway-image", "cluster-image"].map(str::to_owned);
        let printed = vec![path("cluster-image"), path("gateway-image")];
        let sorted = vec![path("gateway-image"), path("cluster-image")];
        assert_eq!(in_order(printed, &asked), sorted);
        let other = vec![path("b"), path("a")];
        assert_eq!(
            in_order(other.clone(), &asked),
            other,
            "names that say nothing"
        );
    }
}
