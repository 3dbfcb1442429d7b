//! Puts packages' sources where Cargo would have them.

use crate::{files, written};
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Permissions};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A package's source and its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The package's directory inside a cell, for example `/cargo/registry/serde-1.0.219`.
    pub place: String,
    /// A `.crate` file or a directory.
    pub from: PathBuf,
    /// The package's path in its source, if that is a repository with more in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_in_source: Option<String>,
    /// The output of its build script, if the script wrote to the package's directory
    /// (`written.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<PathBuf>,
}

impl Source {
    /// Places the source. Existing files stay.
    ///
    /// # Errors
    /// When the source is damaged, or something can't be written.
    pub fn place(&self) -> Result<()> {
        let place = Path::new(&self.place);
        match &self.path_in_source {
            None if self.from.is_dir() => place_tree(&self.from, place),
            None => unpack_crate(&self.from, place),
            Some(path) => place_within(&self.from, path.as_ref(), place),
        }
        .with_context(|| format!("cannot unpack {}", self.from.display()))?;
        match &self.written_by {
            Some(run) => written::restore(run, place),
            None => Ok(()),
        }
    }
}

/// The place of the workspace in a cell.
pub const WORKSPACE: &str = "/workspace";

/// The directories in a cell with sources: those of the workspace, of registries, and of
/// repositories.
pub const PLACES: [&str; 3] = [WORKSPACE, "/cargo/registry", REPOSITORIES];

/// The directory in a cell with the repositories of packages. They are numbered in the order in
/// which they are placed, the unit's own first.
const REPOSITORIES: &str = "/cargo/repositories";

/// Places a repository, and at `place` a link to the package that lies at `path` in it. As in
/// Cargo's own checkout, a package may read the files beside it.
fn place_within(source: &Path, path: &Path, place: &Path) -> Result<()> {
    let repository = repository(source)?;
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    files::link_once(&repository.join(path), place)
}

/// Returns the place of a repository, and puts it there first if need be. Two packages of one
/// repository share it.
fn repository(source: &Path) -> Result<PathBuf> {
    let mut number = 1;
    loop {
        let place = Path::new(REPOSITORIES).join(number.to_string());
        // A file beside the repository, not in it, names its source.
        let origin = place.with_extension("source");
        match fs::read_to_string(&origin) {
            Ok(text) if Path::new(&text) == source => return Ok(place),
            Ok(_) => number += 1,
            Err(_) => {
                place_tree(source, &place)?;
                fs::write(&origin, source.to_string_lossy().as_bytes())?;
                return Ok(place);
            }
        }
    }
}

/// The time of all placed files, which Cargo gives to files in `.crate` archives. No build sees the
/// time of its run, and files that are written later are newer.
const TIME: Duration = Duration::from_secs(1_153_704_088);

/// Copies a file or a directory to `place`. Existing files stay. It makes copies, not links,
/// because a build script that asks for the real path of its directory must not learn a store path.
/// Copies can be written to, as in a checkout.
///
/// # Errors
/// When something can't be read or written.
pub fn place_tree(from: &Path, place: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from)
        .with_context(|| format!("cannot read {}", from.display()))?
        .file_type();
    if kind.is_dir() {
        fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
        for name in files::names(from)? {
            place_tree(&from.join(&name), &place.join(&name))?;
        }
        return Ok(());
    }
    if place.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_symlink() {
        return files::link(&fs::read_link(from)?, place);
    }
    fs::copy(from, place)
        .map_err(anyhow::Error::from)
        .and_then(|_| make_writable(place))
        .with_context(|| format!("cannot copy to {}", place.display()))
}

fn make_writable(file: &Path) -> Result<()> {
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & 0o200 == 0 {
        fs::set_permissions(file, Permissions::from_mode(mode | 0o200))?;
    }
    let time = SystemTime::UNIX_EPOCH + TIME;
    Ok(File::options().write(true).open(file)?.set_modified(time)?)
}

/// Unpacks a `.crate`, a gzipped tar whose entries all lie in `NAME-VERSION/`.
fn unpack_crate(archive: &Path, place: &Path) -> Result<()> {
    let file = File::open(archive)?;
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
    for entry in tar.entries()? {
        let mut entry = entry.context("the archive is damaged")?;
        let path = entry.path()?.into_owned();
        let mut parts = path.components();
        parts.next();
        let inner = parts.as_path();
        if inner
            .components()
            .any(|c| !matches!(c, Component::Normal(_)))
        {
            bail!("entry {} leaves the package", path.display());
        }
        if inner.as_os_str().is_empty() {
            continue;
        }
        let target = place.join(inner);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let is_file = entry.header().entry_type().is_file();
        entry
            .unpack(&target)
            .map_err(anyhow::Error::from)
            .and_then(|_| {
                if is_file {
                    make_writable(&target)
                } else {
                    Ok(())
                }
            })
            .with_context(|| format!("cannot unpack {}", path.display()))?;
    }
    Ok(())
}
