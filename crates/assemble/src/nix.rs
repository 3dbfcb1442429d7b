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
    /// Lines of nix.conf that the machine's own may override.
    pub defaults: String,
    /// Lines of nix.conf that come after the machine's own: what the command line asked for.
    pub settings: String,
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

    /// Runs `nix` with arguments, and gives what it prints.
    ///
    /// # Errors
    /// When Nix is not installed or fails; it has then shown why.
    pub fn read(&self, args: Vec<OsString>) -> Result<String> {
        let program = program()?;
        let what = args[0].to_string_lossy().into_owned();
        let output = duct::cmd(&program, args)
            .env("NIX_CONFIG", self.config(&program))
            .stdout_capture()
            .unchecked()
            .run()
            .context("cannot start nix")?;
        if !output.status.success() {
            bail!("nix {what} failed: {}", output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The lines of nix.conf that every call gets through `NIX_CONFIG`. The machine's own come after what nobody asked
    /// for, so that people have the last word.
    pub fn config(&self, program: &Path) -> String {
        let own = std::env::var("NIX_CONFIG").unwrap_or_default();
        let caches = if has_only_the_default_cache(program) {
            "substituters =\n"
        } else {
            ""
        };
        format!(
            "{SETTINGS}{caches}{}{own}\n{}",
            self.defaults, self.settings
        )
    }
}

/// Where the program `nix` is.
///
/// # Errors
/// When it is not installed.
pub fn program() -> Result<PathBuf> {
    which::which("nix").context(
        "`nix` is not installed. `make images` installs it on Debian, or: apt-get install nix-bin",
    )
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
