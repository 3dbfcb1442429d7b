//! Toolchains that rustup has installed. Their files are those of the components' archives, and
//! rustup keeps the channel's manifest, with the archives' hashes, beside them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::channel::Channel;
use crate::component::{Files, parse_list};
use crate::error::{Error, Result, io};
use crate::lock::{Component, Lock, STD};
use crate::manifest::{ANY, ChannelManifest};

/// rustup's copy of the channel's manifest.
const MANIFEST: &str = "lib/rustlib/multirust-channel-manifest.toml";

/// A toolchain that rustup has installed.
pub struct Installed {
    root: PathBuf,
    /// The manifest of its channel.
    pub manifest: ChannelManifest,
}

impl Installed {
    /// Finds the machine's toolchains, sorted by name. Leaves out those that do not come from a
    /// channel, such as linked directories.
    pub fn all() -> Vec<Self> {
        toolchains().map_or_else(Vec::new, |directory| Self::all_in(&directory))
    }

    /// Finds the toolchains in a directory; see [`Installed::all`].
    pub(crate) fn all_in(directory: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(directory) else {
            return Vec::new();
        };
        let mut roots: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        roots.sort();
        roots.into_iter().filter_map(Self::at).collect()
    }

    fn at(root: PathBuf) -> Option<Self> {
        let path = root.join(MANIFEST);
        let text = fs::read_to_string(&path).ok()?;
        let manifest = ChannelManifest::parse(&text, &path.to_string_lossy()).ok()?;
        Some(Self { root, manifest })
    }

    /// Returns the first toolchain with a release of a channel. For `stable`, `beta` and `nightly`,
    /// that is the toolchain of this name, which the machine's developers compile with.
    pub fn of_channel(all: Vec<Self>, channel: &Channel) -> Option<Self> {
        let named = format!("{channel}-");
        all.into_iter().find(|installed| {
            let is_named = channel.is_fixed()
                || matches!(channel, Channel::Release(_))
                || installed.name().starts_with(&named);
            let release = installed.manifest.release();
            is_named
                && release.is_ok_and(|release| channel.includes(release, &installed.manifest.date))
        })
    }

    /// Returns a toolchain with the release of a lock, which means archives with the same hashes.
    pub fn of_lock<'a>(all: &'a [Self], lock: &Lock) -> Option<&'a Self> {
        all.iter().find(|installed| {
            lock.components()
                .filter(|component| component.name == "rustc")
                .all(|component| {
                    let archive = installed.manifest.archive("rustc", component.platform);
                    archive.is_ok_and(|archive| archive.sha256 == component.pin.sha256)
                })
        })
    }

    /// Its name for rustup's commands.
    pub fn name(&self) -> String {
        let name = self.root.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it has a component.
    pub fn has(&self, component: Component<'_>) -> bool {
        self.list_path(component).is_file()
    }

    /// Returns the files of a component, under their name in the store.
    ///
    /// # Errors
    /// Fails if the component is not installed, or if one of its files is missing.
    pub fn files(&self, component: Component<'_>, store_name: &str) -> Result<Files> {
        let path = self.list_path(component);
        let list = match fs::read_to_string(&path) {
            Ok(list) => list,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.lacks(component));
            }
            Err(error) => return Err(io(&path)(error)),
        };
        let list = parse_list(&list).map_err(|reason| Error::File {
            path,
            line: 1,
            reason,
        })?;
        Files::linked(store_name, &self.root, &list, &self.scratch())
    }

    /// Returns the files of a component, checked against the lock's hash.
    ///
    /// # Errors
    /// Fails as [`Installed::files`] does, and if the files were changed.
    pub fn checked(&self, component: Component<'_>, store_name: &str) -> Result<Files> {
        let files = self.files(component, store_name)?;
        let Some(expected) = &component.pin.files else {
            return Ok(files);
        };
        let found = files.sha256()?;
        match found == *expected {
            true => Ok(files),
            false => Err(Error::Altered {
                toolchain: self.root.clone(),
                name: self.name(),
                component: component.name.to_owned(),
                found,
                expected: expected.clone(),
            }),
        }
    }

    /// Makes the error for a component that is not installed. The error says how to add it.
    pub fn lacks(&self, component: Component<'_>) -> Error {
        let is_target = component.name == STD && !self.name().ends_with(component.platform);
        match is_target {
            true => Error::NoTarget {
                toolchain: self.root.clone(),
                name: self.name(),
                target: component.platform.to_owned(),
            },
            false => Error::NotInstalled {
                toolchain: self.root.clone(),
                name: self.name(),
                component: component.name.to_owned(),
            },
        }
    }

    /// Returns rustup's directory for temporary files. It is on the same file system, and rustup
    /// clears it.
    fn scratch(&self) -> PathBuf {
        self.root.join("../../tmp")
    }

    /// Returns the path of rustup's list of a component's files.
    fn list_path(&self, component: Component<'_>) -> PathBuf {
        let listed = self.manifest.listed(component.name);
        let file = match component.platform {
            ANY => format!("manifest-{listed}"),
            platform => format!("manifest-{listed}-{platform}"),
        };
        self.root.join("lib/rustlib").join(file)
    }
}

/// Returns the directory of rustup's toolchains: below `RUSTUP_HOME`, else below `~/.rustup`.
fn toolchains() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = given("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(given("HOME")?).join(".rustup")));
    Some(home?.join("toolchains"))
}
