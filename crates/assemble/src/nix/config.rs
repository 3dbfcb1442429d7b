//! Nix's settings on this machine.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// What every call needs, whatever the machine's nix.conf says: flakes, the sandbox, all cores.
const SETTINGS: &str = "\
extra-experimental-features = nix-command flakes
sandbox = true
max-jobs = auto
";

/// The cache that Nix knows by default is nixpkgs' and holds nothing of ours: asking it for every
/// unit costs a request each, and a wait where it can't be reached.
const DEFAULT_CACHE: &str = "https://cache.nixos.org/";

/// Where Nix is, and how it is set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `nix`.
    pub nix: PathBuf,
    /// The value of `NIX_CONFIG` for every call. The machine's own comes after ours, so that people
    /// have the last word.
    pub text: String,
    settings: BTreeMap<String, String>,
}

impl Config {
    /// Asks Nix. `more` are lines of nix.conf that come before the machine's own.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn read(more: &str) -> Result<Self> {
        let nix = which::which("nix").context(
            "`nix` is not installed. `make images` installs it on Debian, or: apt-get install nix-bin",
        )?;
        let own = std::env::var("NIX_CONFIG").unwrap_or_default();
        let shown = duct::cmd!(&nix, "show-config")
            .env("NIX_CONFIG", format!("{SETTINGS}{more}\n{own}"))
            .stderr_null()
            .unchecked()
            .read()
            .unwrap_or_default();
        let pairs = shown.lines().filter_map(|line| line.split_once(" = "));
        let mut settings: BTreeMap<String, String> = pairs
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut caches = "";
        if settings.get("substituters").map(String::as_str) == Some(DEFAULT_CACHE) {
            caches = "substituters =\n";
            settings.remove("substituters");
        }
        Ok(Self {
            nix,
            text: format!("{SETTINGS}{caches}{more}\n{own}"),
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

    /// A setting that is a number; none where it is 0, which is Nix's word for "all".
    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name).parse().ok().filter(|&number| number > 0)
    }

    /// Changes a setting, as an argument of Nix does.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    fn get(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }
}
