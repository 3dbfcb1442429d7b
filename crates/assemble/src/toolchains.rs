//! Releases of the Rust project: from where their components and manifests are had.

use crate::cargo::Cargo;
use crate::commands::fetch::store::{Store, sha256_of};
use anyhow::{Context, Result, bail};
use description::Description;
use std::path::{Path, PathBuf};
use toolchain::channel::Channel;
use toolchain::component::Files;
use toolchain::lock::{Component, Lock};
use toolchain::manifest::Manifest;
use toolchain::rustup::Installed;
use toolchain::{Choice, Member, server};

/// The platform of this machine, as rustc names it.
pub fn host() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// The release that a workspace is built with, and why.
///
/// # Errors
/// When a toolchain file can't be used, or Cargo can't read the manifests.
pub fn choice(workspace: &Path, description: &Description) -> Result<Choice> {
    let release = description.toolchain.release.as_ref();
    let release = release.map(|release| release.get_ref().as_str());
    // Cargo is asked only where its answer counts.
    let file = toolchain::file::ToolchainFile::of(workspace)?;
    let is_said = release.is_some() || file.is_some_and(|file| file.channel.is_some());
    let members = match is_said {
        true => Vec::new(),
        false => members(workspace)?,
    };
    Ok(toolchain::choose(workspace, release, &members)?)
}

/// The packages of a workspace; none where there are only images.
fn members(workspace: &Path) -> Result<Vec<Member>> {
    if !workspace.join("Cargo.toml").exists() {
        return Ok(Vec::new());
    }
    let metadata = Cargo::of(workspace)?.metadata(&["--no-deps", "--offline"])?;
    Ok(members_in(&metadata))
}

/// The packages that `cargo metadata` names.
pub fn members_in(metadata: &str) -> Vec<Member> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap_or_default();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    packages
        .filter_map(|package| {
            Some(Member {
                name: text(&package["name"])?,
                rust_version: text(&package["rust_version"]),
            })
        })
        .collect()
}

/// A file with another content than it must have.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// The distribution server, and whether it has failed before: then it is not asked again.
pub struct Server<'a> {
    store: &'a Store,
    address: String,
    failed: Option<String>,
}

impl<'a> Server<'a> {
    /// The server that the environment names, or the Rust project's own. What it gives goes through a store.
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            address: server::address(),
            failed: None,
        }
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The manifest of a channel, which the server's own checksum file vouches for.
    ///
    /// # Errors
    /// When the server does not give it, or not the one that its checksum is of.
    pub fn manifest(&mut self, channel: &Channel) -> Result<Manifest> {
        let path = channel.manifest_path();
        let file = self.get(&path)?;
        let checksum = self.get(&format!("{path}.sha256"))?;
        let expected = std::fs::read_to_string(&checksum)?;
        let expected = expected.split_whitespace().next().unwrap_or_default();
        self.expect(&path, &file, expected, "its own checksum file")?;
        let text = std::fs::read_to_string(&file)?;
        Ok(Manifest::parse(&text, &format!("{}/{path}", self.address))?)
    }

    /// The archive of a component.
    ///
    /// # Errors
    /// When the server does not give it, or another one than the lock pins.
    pub fn archive(&mut self, component: Component<'_>) -> Result<PathBuf> {
        let path = &component.pin.archive;
        let file = self.get(path)?;
        self.expect(path, &file, &component.pin.sha256, toolchain::lock::FILE)?;
        Ok(file)
    }

    fn expect(&self, path: &str, file: &Path, expected: &str, by: &str) -> Result<()> {
        let found = sha256_of(file)?;
        if found != expected {
            bail!(Refused(format!(
                "{}/{path} is refused: it has the SHA-256 {found}, {by} has {expected}",
                self.address
            )));
        }
        Ok(())
    }

    fn get(&mut self, path: &str) -> Result<PathBuf> {
        if let Some(reason) = &self.failed {
            bail!("{reason}");
        }
        let url = format!("{}/{path}", self.address);
        let name = path.rsplit('/').next().unwrap_or(path);
        self.store.download(&url, name).map_err(|error| {
            let reason = format!("{} gave nothing: {}", self.address, last_line(&error));
            if !is_missing(&error) {
                self.failed = Some(reason.clone());
            }
            anyhow::anyhow!("{url}: {}", last_line(&error))
        })
    }
}

/// Whether the server has answered that it has no such file.
fn is_missing(error: &anyhow::Error) -> bool {
    let said = error.to_string();
    said.contains("HTTP error 404") || said.contains("HTTP error 403")
}

fn last_line(error: &anyhow::Error) -> String {
    let said = error.to_string();
    let line = said.lines().rfind(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default().trim();
    line.trim_start_matches("error: ").to_owned()
}

/// The files in a component's archive, which must be those that the lock pins.
///
/// # Errors
/// When the archive is damaged, or they are others.
pub fn checked(lock: &Lock, component: Component<'_>, archive: &Path) -> Result<Files> {
    let files = Files::unpacked(&lock.store_name(component), archive)?;
    if let Some(expected) = &component.pin.files {
        let found = files.sha256()?;
        if found != *expected {
            bail!(
                "the files in {} have the SHA-256 {found}, toolchain.lock has {expected}",
                component.pin.archive
            );
        }
    }
    Ok(files)
}

/// The manifest of a channel: the machine's rustup has it, or the server gives it.
///
/// # Errors
/// When neither has it.
pub fn manifest(channel: &Channel, server: &mut Server<'_>) -> Result<(Manifest, String)> {
    if let Some(installed) = Installed::of_channel(Installed::all(), channel) {
        let from = format!("the rustup toolchain {}", installed.name());
        return Ok((installed.manifest, from));
    }
    let address = server.address().to_owned();
    let manifest = server.manifest(channel).with_context(|| {
        format!(
            "no rustup toolchain of this machine is Rust {channel} (rustup toolchain install {channel}), and the \
             distribution server does not tell what is in it"
        )
    })?;
    Ok((manifest, address))
}
