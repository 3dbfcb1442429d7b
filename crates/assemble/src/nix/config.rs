//! Nix's settings on this machine.

use anyhow::{Context, Result};
use drive::environment;
use rustix::fs::Access;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What every call needs, whatever the machine's nix.conf says: flakes, the sandbox, all cores.
const SETTINGS: &str = "\
extra-experimental-features = nix-command flakes
sandbox = true
max-jobs = auto
";

/// The line of [`SETTINGS`] that does not hold where the system forbids it.
const SANDBOX: &str = "sandbox = true\n";

/// The cache that Nix knows by default is nixpkgs' and holds nothing of ours: asking it for every
/// unit costs a request each, and a wait where it can't be reached.
const DEFAULT_CACHE: &str = "https://cache.nixos.org/";

/// Where Nix keeps what it knows of the machine's own store, unless the environment says otherwise.
const STATE: &str = "/nix/var/nix";

/// The setting for where builders work, from Nix 2.23 on.
const BUILD_DIR: &str = "build-dir";

/// Where Nix is, and how it is set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `nix`.
    pub nix: PathBuf,
    /// The value of `NIX_CONFIG` for every call.
    pub text: String,
    settings: BTreeMap<String, String>,
}

impl Config {
    /// Asks Nix. Lines of nix.conf in `defaults` come before the machine's own, so that people have the last word;
    /// those in `asked`, which somebody asked for now, come after.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn read(defaults: &str, asked: &str) -> Result<Self> {
        let nix = which::which("nix").context(
            "`nix` is not installed. `make images` installs it on Debian, or: apt-get install nix-bin",
        )?;
        let own = std::env::var("NIX_CONFIG").unwrap_or_default();
        let mut text = format!("{SETTINGS}{defaults}{own}\n");
        let mut settings = show(&nix, &text);
        if settings.get("substituters").map(String::as_str) == Some(DEFAULT_CACHE) {
            text = format!("{SETTINGS}substituters =\n{defaults}{own}\n");
            settings.remove("substituters");
        }
        if settings.get("sandbox").map(String::as_str) == Some("true")
            && is_direct(settings.get("store").map_or("auto", String::as_str))
            && crate::isolation::sandbox().is_err()
        {
            // Nix would fail, or try in vain for each derivation. Cells isolate units all the same.
            text = text.replacen(SANDBOX, "sandbox = false\n", 1);
            settings = show(&nix, &text);
        }
        if !asked.is_empty() {
            text.push_str(asked);
            settings = show(&nix, &text);
        }
        Ok(Self {
            nix,
            text,
            settings,
        })
    }

    /// `nix-store`, which lies beside `nix`.
    pub fn nix_store(&self) -> PathBuf {
        self.nix.with_file_name("nix-store")
    }

    /// Whether Nix has caches to ask.
    pub fn has_caches(&self) -> bool {
        let substitutes = self.get("substitute") != "false";
        substitutes && !self.get("substituters").is_empty()
    }

    /// Whether Nix has other machines to build on.
    pub fn has_builders(&self) -> bool {
        let value = self.get("builders");
        match value.strip_prefix('@') {
            None => !value.is_empty(),
            Some(file) => fs::read_to_string(file).is_ok_and(|text| {
                let mut lines = text.lines().map(str::trim);
                lines.any(|line| !line.is_empty() && !line.starts_with('#'))
            }),
        }
    }

    /// Whether Nix works on the store itself, as it does when it may write there; otherwise a daemon
    /// does it, or another machine.
    pub fn is_direct(&self, store: Option<&str>) -> bool {
        is_direct(store.unwrap_or_else(|| self.get("store")))
    }

    /// Whether Nix has a setting for where builders work.
    pub fn knows_build_dir(&self) -> bool {
        self.settings.contains_key(BUILD_DIR)
    }

    /// Whether somebody has said where builders work.
    pub fn has_build_dir(&self) -> bool {
        !self.get(BUILD_DIR).is_empty()
    }

    /// Where Nix keeps what it knows of the machine's own store.
    pub fn state(&self) -> PathBuf {
        state()
    }

    /// A setting that is a number; none where it is 0, which is Nix's word for "all".
    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name).parse().ok().filter(|&number| number > 0)
    }

    /// Changes a setting, as an argument of Nix does.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// A setting's value; empty where Nix has none of that name.
    pub fn get(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }
}

fn is_direct(store: &str) -> bool {
    match store {
        "auto" => rustix::fs::access(state(), Access::READ_OK | Access::WRITE_OK).is_ok(),
        store => store == "local" || store.starts_with('/'),
    }
}

fn state() -> PathBuf {
    std::env::var_os("NIX_STATE_DIR").map_or_else(|| STATE.into(), PathBuf::from)
}

/// All settings, as Nix itself says.
fn show(nix: &Path, text: &str) -> BTreeMap<String, String> {
    let shown = duct::cmd!(nix, "show-config")
        .full_env(environment::with_config(text))
        .stderr_null()
        .unchecked()
        .read()
        .unwrap_or_default();
    let pairs = shown.lines().filter_map(|line| line.split_once(" = "));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}
