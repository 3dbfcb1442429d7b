//! Gets the components and manifests of Rust releases.

use anyhow::{Context, Result, bail, ensure};
use crateyard_description::Description;
use crateyard_nix::{Store, sha256_of};
use crateyard_terminal::note;
use crateyard_toolchain::channel::Channel;
use crateyard_toolchain::component::Files;
use crateyard_toolchain::lock::{Component, Lock};
use crateyard_toolchain::manifest::ChannelManifest;
use crateyard_toolchain::rustup::Installed;
use crateyard_toolchain::{Choice, Member, server};
use crateyard_workspace::cargo::Cargo;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The size of the largest manifest that is read, in bytes. In 2026 one has 1 MB.
const MAX_MANIFEST: u64 = 32 << 20;

/// This machine's platform, as rustc names it.
pub fn host() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Returns the release that a workspace is built with, and the reason.
///
/// # Errors
/// When a toolchain file is invalid, or Cargo can't read the manifests.
pub fn choice(workspace: &Path, description: &Description) -> Result<Choice> {
    // Cargo is asked only if its answer matters.
    let members = match description.toolchain.release.is_some() || is_said_by_file(workspace)? {
        true => Vec::new(),
        false => members(workspace)?,
    };
    choice_for(workspace, description, &members)
}

/// Returns the release for a workspace whose packages are known, and the reason.
///
/// # Errors
/// When a toolchain file is invalid.
pub fn choice_for(
    workspace: &Path,
    description: &Description,
    members: &[Member],
) -> Result<Choice> {
    let release = description.toolchain.release.as_ref();
    let release = release.map(|release| release.get_ref().as_str());
    let mut choice = crateyard_toolchain::choose(workspace, release, members)?;
    // Crateyard's own lock has the standard libraries of the hosts alone.
    let targets = description.own_targets();
    choice.is_default &= targets.is_empty();
    choice.is_pinned &= targets.is_empty();
    choice.targets.extend(targets);
    Ok(choice)
}

/// Whether a toolchain file names the release, so that no package's `rust-version` matters.
///
/// # Errors
/// When the file is invalid.
pub fn is_said_by_file(workspace: &Path) -> Result<bool> {
    let file = crateyard_toolchain::file::ToolchainFile::of(workspace)?;
    Ok(file.is_some_and(|file| file.channel.is_some()))
}

/// Returns the packages of a workspace, which has none if there are only images.
fn members(workspace: &Path) -> Result<Vec<Member>> {
    if !workspace.join("Cargo.toml").exists() {
        return Ok(Vec::new());
    }
    let metadata = Cargo::of(workspace)?.metadata(&["--no-deps", "--offline"])?;
    Ok(members_in(&metadata))
}

/// Reads the packages in the output of `cargo metadata`.
pub fn members_in(metadata: &str) -> Vec<Member> {
    let metadata: Value = serde_json::from_str(metadata).unwrap_or_default();
    list(&metadata["packages"]).filter_map(member).collect()
}

/// Returns the packages that members of a workspace reach by their dependencies on this machine's
/// platform, without those for tests; `None` if the lock or a crate is missing here.
pub fn compiled(cargo: &Cargo) -> Option<Vec<Member>> {
    let platform = format!("--filter-platform={}", host());
    let metadata = cargo.metadata(&["--offline", "--locked", &platform]).ok()?;
    Some(compiled_in(&metadata))
}

/// Reads these packages in the output of `cargo metadata` with dependencies.
fn compiled_in(metadata: &str) -> Vec<Member> {
    let metadata: Value = serde_json::from_str(metadata).unwrap_or_default();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let nodes: BTreeMap<&str, &Value> = nodes
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let mut waiting: Vec<&str> = list(&metadata["workspace_members"])
        .filter_map(Value::as_str)
        .collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            let dependencies = nodes.get(id).into_iter().flat_map(|it| list(&it["deps"]));
            let compiled = dependencies.filter(|it| {
                let mut kinds = list(&it["dep_kinds"]);
                kinds.any(|kind| kind["kind"].as_str() != Some("dev"))
            });
            waiting.extend(compiled.filter_map(|it| it["pkg"].as_str()));
        }
    }
    let is_reached = |it: &&Value| it["id"].as_str().is_some_and(|id| reached.contains(id));
    let packages = list(&metadata["packages"]).filter(is_reached);
    packages.filter_map(member).collect()
}

fn member(package: &Value) -> Option<Member> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Member {
        name: text(&package["name"])?,
        rust_version: text(&package["rust_version"]),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The error for a file whose content is not the expected one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// The distribution server, or another server with files. After one failure, it gets no more
/// requests.
pub struct Server<'a> {
    store: &'a Store,
    address: String,
    failed: Option<String>,
}

impl<'a> Server<'a> {
    /// Takes the server from the environment, or else the Rust project's own. Downloads go through
    /// a store.
    pub fn new(store: &'a Store) -> Self {
        Self::at(store, server::address())
    }

    /// Takes the server with an address, which has no slash at its end.
    pub(crate) fn at(store: &'a Store, address: String) -> Self {
        Self {
            store,
            address,
            failed: None,
        }
    }

    /// Returns the server's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Downloads the manifest of a channel, and checks it against the server's own checksum file.
    ///
    /// # Errors
    /// When the server does not send it, or its checksum does not match.
    pub fn manifest(&mut self, channel: &Channel) -> Result<ChannelManifest> {
        let path = channel.manifest_path();
        let file = self.get(&path)?;
        let checksum = self.get(&format!("{path}.sha256"))?;
        let expected = text_of(&checksum)?;
        let expected = expected.split_whitespace().next().unwrap_or_default();
        self.expect(&path, &file, expected, "its own checksum file")?;
        let text = text_of(&file)?;
        Ok(ChannelManifest::parse(
            &text,
            &format!("{}/{path}", self.address),
        )?)
    }

    /// Downloads the archive of a component.
    ///
    /// # Errors
    /// When the server does not send it, or the lock pins another one.
    pub fn archive(&mut self, component: Component<'_>) -> Result<PathBuf> {
        let path = &component.pin.archive;
        let file = self.get(path)?;
        self.expect(
            path,
            &file,
            &component.pin.sha256,
            crateyard_toolchain::lock::FILE,
        )?;
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

    /// Downloads a file that the server may not have. A note says why a server gives nothing.
    pub(crate) fn find(&mut self, path: &str) -> Option<PathBuf> {
        let is_known = self.failed.is_some();
        let found = self.get(path).ok();
        if let Some(reason) = self.failed.as_ref().filter(|_| !is_known) {
            note!("{reason}");
        }
        found
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

/// Reads a downloaded text.
///
/// # Errors
/// When it can't be read, or is too large for a manifest.
fn text_of(file: &Path) -> Result<String> {
    let size = file.metadata()?.len();
    ensure!(
        size <= MAX_MANIFEST,
        "{} has {size} bytes, and no manifest has more than {MAX_MANIFEST}",
        file.display()
    );
    Ok(std::fs::read_to_string(file)?)
}

/// Whether the server has answered that the file does not exist.
fn is_missing(error: &crateyard_nix::Error) -> bool {
    let said = error.to_string();
    said.contains("HTTP error 404") || said.contains("HTTP error 403")
}

fn last_line(error: &crateyard_nix::Error) -> String {
    let said = error.to_string();
    let line = said.lines().rfind(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default().trim();
    line.trim_start_matches("error: ").to_owned()
}

/// Reads the files in a component's archive, and checks them against those that the lock pins.
///
/// # Errors
/// When the archive is damaged, or has other files.
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

/// Gets the manifest of a channel from the machine's rustup, or else from the server.
///
/// # Errors
/// When neither has it.
pub fn manifest(channel: &Channel, server: &mut Server<'_>) -> Result<(ChannelManifest, String)> {
    if let Some(installed) = Installed::of_channel(Installed::all(), channel) {
        let from = format!("the rustup toolchain {}", installed.name());
        return Ok((installed.manifest, from));
    }
    let address = server.address().to_owned();
    let manifest = server.manifest(channel).with_context(|| {
        format!(
            "no rustup toolchain of this machine is Rust {channel} (rustup toolchain install \
             {channel}), and the distribution server does not tell what is in it"
        )
    })?;
    Ok((manifest, address))
}
