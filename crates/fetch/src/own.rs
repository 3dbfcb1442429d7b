//! Fetches the inputs of Crateyard's own parts, in addition to those that the workspace's locks
//! pin: Debian packages, a Rust release, and the bootstrap programs or the crates that they are
//! compiled from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use crateyard_flake::programs::Kept;
use crateyard_nix::Store;
use crateyard_terminal::note;
use serde::Deserialize;

use super::crates::CrateFile;
use crate::flake::{attribute_of, flake_of, in_store};
use crate::programs::Places;
use crate::{crates, git};

/// The flake's attribute with this information (nix/lib.nix).
const ATTRIBUTE: &str = "ownInputs";

/// The version of its format.
const FORMAT: u32 = 1;

/// The inputs of Crateyard's own parts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Own {
    version: u32,
    /// Crateyard's own source.
    source: PathBuf,
    /// The lock of Crateyard's Debian packages.
    pub debian_lock: PathBuf,
    /// The lock of Crateyard's compiler.
    pub toolchain_lock: PathBuf,
    programs: Vec<Group>,
}

/// Bootstrap programs that are built together.
#[derive(Debug, Deserialize)]
struct Group {
    /// The store path of each program, or `None` if the lock does not pin the bytes of this source.
    programs: BTreeMap<String, Option<String>>,
    crates: Vec<Locked>,
}

/// A crate of Crateyard's own Cargo.lock.
#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: String,
}

impl Own {
    /// Asks the flake beside a lock. Returns `None` if there is no flake.
    ///
    /// # Errors
    /// When the flake does not have the information.
    pub fn of(lock: &Path) -> Result<Option<Self>> {
        let Some(flake) = flake_of(lock) else {
            return Ok(None);
        };
        let text = git::evaluate(&attribute_of(&flake, ATTRIBUTE)?, None)?;
        let mut own: Self =
            serde_json::from_str(&text).context("the list of inputs has another format")?;
        ensure!(
            own.version == FORMAT,
            "the list of inputs has format {}, but this version of assemble reads {FORMAT}",
            own.version
        );
        let store = Store::default();
        for path in [
            &mut own.source,
            &mut own.debian_lock,
            &mut own.toolchain_lock,
        ] {
            *path = in_store(&store, std::mem::take(path))?;
        }
        Ok(Some(own))
    }

    /// Gets programs, and returns the groups that must still be compiled.
    fn to_compile(&self, store: &Store) -> Result<Vec<&Group>> {
        let mut places = Places::of(&self.source, store);
        let mut groups = Vec::new();
        let mut present = Vec::new();
        for group in &self.programs {
            let paths: Option<Vec<&str>> = group.programs.values().map(Option::as_deref).collect();
            let Some(paths) = paths else {
                groups.push(group);
                continue;
            };
            let missing = store.missing(paths.iter().copied())?;
            match missing.iter().all(|path| places.get(path)) {
                true => present.extend(paths),
                false => groups.push(group),
            }
        }
        keep(store, &present);
        Ok(groups)
    }

    /// Fetches the crates of the programs that must be compiled, and returns the names of these
    /// programs.
    ///
    /// # Errors
    /// When cargo can't download a crate.
    pub fn fetch(&self, store: &Store) -> Result<Vec<String>> {
        let groups = self.to_compile(store)?;
        let locked = groups.iter().flat_map(|group| &group.crates);
        let crates: BTreeMap<String, CrateFile> = locked.map(|each| each.at(store)).collect();
        let missing = store.missing(crates.keys().map(String::as_str))?;
        let wanted: Vec<&CrateFile> = missing.iter().filter_map(|path| crates.get(path)).collect();
        if !wanted.is_empty() {
            crates::download(&self.source.join("Cargo.lock"), || ())?;
            store
                .add(&crates::find(&wanted)?)
                .with_context(|| format!("cannot add Crateyard's own crates to {store}"))?;
        }
        let names = groups.iter().flat_map(|group| group.programs.keys());
        Ok(names.cloned().collect())
    }
}

/// Keeps the programs for the user's other stores.
fn keep(store: &Store, paths: &[&str]) {
    if paths.is_empty() {
        return;
    }
    let kept = Kept::open().and_then(|kept| kept.keep(store, paths.iter().copied()));
    if let Err(error) = kept {
        note!("another store will need the bootstrap programs again: {error:#}");
    }
}

impl Locked {
    /// Returns the crate, with its path in a store.
    fn at(&self, store: &Store) -> (String, CrateFile) {
        let file = format!("{}-{}.crate", self.name, self.version);
        let path = store.path_of(&file, &self.checksum);
        let found = CrateFile {
            file,
            sha256: self.checksum.clone(),
            path: path.clone(),
        };
        (path, found)
    }
}
