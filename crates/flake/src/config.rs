//! Nix's settings on this machine.

use anyhow::{Context, Result};
use crateyard_nix::environment;
use rustix::fs::Access;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The settings of every call, which override the machine's nix.conf: flakes, the sandbox, all
/// cores.
const SETTINGS: &str = "\
extra-experimental-features = nix-command flakes
sandbox = true
max-jobs = auto
";

/// The line of [`SETTINGS`] to leave out if the system forbids the sandbox.
const SANDBOX: &str = "sandbox = true\n";

/// Nix's default cache, the one of nixpkgs. It has nothing that Crateyard builds. Asking it costs a
/// request for every unit, and a wait if it can't be reached.
const DEFAULT_CACHE: &str = "https://cache.nixos.org/";

/// Nix's database of the machine's own store, unless the environment sets another one.
const STATE: &str = "/nix/var/nix";

/// The setting for the builders' directory, since Nix 2.23.
const BUILD_DIR: &str = "build-dir";

/// Nix's path and settings.
#[derive(Clone, Debug)]
pub struct NixConfig {
    /// `nix`.
    pub nix: PathBuf,
    /// The value of `NIX_CONFIG` for each call.
    pub text: String,
    settings: BTreeMap<String, String>,
}

impl NixConfig {
    /// Asks Nix for its settings. The lines of nix.conf in `defaults` come before the machine's
    /// own, so that people have the last word. The lines in `asked` come after them, because the
    /// command line asks for them.
    ///
    /// # Errors
    /// When Nix is not installed.
    pub fn read(defaults: &str, asked: &str) -> Result<Self> {
        let nix = which::which("nix")
            .context("`nix` is not installed; on Debian: apt-get install nix-bin")?;
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
            // With the sandbox, Nix would fail, or try in vain for each derivation. Cells isolate
            // units anyway.
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

    /// Returns the path of `nix-store`, which is beside `nix`.
    pub fn nix_store(&self) -> PathBuf {
        self.nix.with_file_name("nix-store")
    }

    /// Whether Nix has caches to ask.
    pub fn has_caches(&self) -> bool {
        let substitutes = self.get("substitute") != "false";
        substitutes && !self.get("substituters").is_empty()
    }

    /// Whether Nix has other machines to build on.
    pub(crate) fn has_builders(&self) -> bool {
        let value = self.get("builders");
        match value.strip_prefix('@') {
            None => !value.is_empty(),
            Some(file) => fs::read_to_string(file).is_ok_and(|text| {
                let mut lines = text.lines().map(str::trim);
                lines.any(|line| !line.is_empty() && !line.starts_with('#'))
            }),
        }
    }

    /// Whether Nix works on the store directly, which it does if it may write there. Otherwise a
    /// daemon or another machine works on it.
    pub fn is_direct(&self, store: Option<&str>) -> bool {
        is_direct(store.unwrap_or_else(|| self.get("store")))
    }

    /// Whether Nix has a setting for the builders' directory.
    pub(crate) fn knows_build_dir(&self) -> bool {
        self.settings.contains_key(BUILD_DIR)
    }

    /// Whether somebody has set the builders' directory.
    pub fn has_build_dir(&self) -> bool {
        !self.get(BUILD_DIR).is_empty()
    }

    /// Nix's database of the machine's own store.
    pub fn state(&self) -> PathBuf {
        state()
    }

    /// Returns a setting that is a number. Returns `None` for 0, which means "all" to Nix.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name).parse().ok().filter(|&number| number > 0)
    }

    /// Changes a setting, as an argument of Nix would.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Returns a setting's value, which is empty if Nix has no such setting.
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

/// Returns all settings, as Nix prints them.
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
