//! The sources of repositories: their public addresses, or a directory that replaces them.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Settings with which git, Nix and Cargo find repositories.
pub struct Sources {
    /// A configuration file for git.
    configuration: PathBuf,
    /// The directory that replaces public hosts.
    mirrors: Option<PathBuf>,
}

impl Sources {
    /// Writes the configuration into `place`. Each directory of `mirrors` has the name of the host
    /// that it replaces.
    pub fn new(mirrors: Option<&Path>, place: &Path) -> Result<Self> {
        let mut text = "[include]\n\tpath = ~/.gitconfig\n".to_owned();
        let mirrors = mirrors.map(Path::canonicalize).transpose();
        let mirrors = mirrors.context("the directory of --sources is not there")?;
        if let Some(mirrors) = &mirrors {
            for entry in fs::read_dir(mirrors)? {
                let host = entry?.file_name().to_string_lossy().into_owned();
                let stand_in = mirrors.join(&host);
                write!(
                    text,
                    "[url \"file://{}/\"]\n\tinsteadOf = https://{host}/\n",
                    stand_in.display()
                )?;
            }
            // A submodule may be in a directory.
            text += "[protocol \"file\"]\n\tallow = always\n";
        }
        let configuration = place.join("gitconfig");
        fs::write(&configuration, text)?;
        Ok(Self {
            configuration,
            mirrors,
        })
    }

    /// Returns a message with public addresses, as it is without `--sources`.
    pub fn public(&self, said: &str) -> String {
        let Some(mirrors) = &self.mirrors else {
            return said.to_owned();
        };
        let mirrors = mirrors.display().to_string();
        said.replace(&format!("file://{mirrors}"), "https:/")
            .replace(&mirrors, "https:/")
    }

    /// Returns the command with these settings.
    pub fn apply(&self, command: duct::Expression) -> duct::Expression {
        command
            .env("GIT_CONFIG_GLOBAL", &self.configuration)
            // Cargo's own git does not read all of git's settings.
            .env("CARGO_NET_GIT_FETCH_WITH_CLI", "true")
    }
}
