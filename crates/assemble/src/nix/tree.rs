//! The files of a changed git repository as Nix sees them, in a directory that is kept up to date.
//!
//! After each edit Nix copies all files of a flake into the store before it evaluates them, which takes longer than
//! the evaluation. Evaluated in this directory, a flake gives the same derivations, as their sources are copied one
//! by one. Only a derivation that names the directory itself would differ: [`Tree::NAME`] tells.

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The file that says of which flake.nix and flake.lock Nix itself has made derivations.
const SEEN: &str = "flake.seen";
/// A file that changed so shortly before it was copied may change again without telling.
const TELLING: Duration = Duration::from_secs(1);

/// A repository's tracked files, copied. Nobody else changes the copy while this lives.
#[derive(Debug)]
pub struct Tree {
    /// The copy of the repository's top.
    pub top: PathBuf,
    /// Where the flake lies below it: empty, or `/DIRECTORY`.
    pub below: String,
    _lock: File,
}

impl Tree {
    /// The last part of the copy's path, which nothing else is called.
    pub const NAME: &str = "tree-that-crateyard-evaluates";

    /// Brings the copy of the repository around `workspace` up to date, in the directory `links`. None where Nix
    /// does better without: nothing is changed, or the repository is more than files.
    ///
    /// # Errors
    /// When git can't be run, or a file can't be copied.
    pub fn update(workspace: &Path, links: &Path) -> Result<Option<Self>> {
        let workspace = workspace.canonicalize()?;
        if !is_seen(&workspace, links) || !is_changed(&workspace)? {
            return Ok(None);
        }
        let top = git(&workspace, &["rev-parse", "--show-toplevel"])?;
        let repository = PathBuf::from(OsString::from_vec(top.trim_ascii_end().to_vec()));
        let Some(files) = tracked(&repository)? else {
            return Ok(None);
        };
        let Some(lock) = lock(links)? else {
            return Ok(None);
        };
        let tree = Self {
            top: links.canonicalize()?.join(Self::NAME),
            below: below(&workspace, &repository)?,
            _lock: lock,
        };
        tree.copy(&repository, files)?;
        Ok(Some(tree))
    }

    fn copy(&self, repository: &Path, files: BTreeSet<PathBuf>) -> Result<()> {
        fs::create_dir_all(&self.top)?;
        let mut expected = BTreeSet::new();
        for file in files {
            let from = repository.join(&file);
            let Ok(found) = from.symlink_metadata() else {
                continue; // It is deleted, and git does not know yet.
            };
            let to = self.top.join(&file);
            if !is_same(&found, &to) {
                place(&from, &found, &to)
                    .with_context(|| format!("cannot copy {}", from.display()))?;
            }
            expected.extend(file.ancestors().map(Path::to_owned));
        }
        self.remove_others(&self.top, &expected)
    }

    /// Removes what the repository does not have.
    fn remove_others(&self, directory: &Path, expected: &BTreeSet<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            let is_directory = entry.file_type()?.is_dir();
            let is_expected = path
                .strip_prefix(&self.top)
                .is_ok_and(|inner| expected.contains(inner));
            match (is_expected, is_directory) {
                (true, true) => self.remove_others(&path, expected)?,
                (true, false) => {}
                (false, _) => remove(&path)?,
            }
        }
        Ok(())
    }
}

/// Notes that Nix itself has evaluated the flake: its lock is complete.
///
/// # Errors
/// When that can't be written down.
pub fn remember(workspace: &Path, links: &Path) -> Result<()> {
    let seen = links.join(SEEN);
    let flake = fingerprint(workspace);
    if fs::read_to_string(&seen).is_ok_and(|known| known == flake) {
        return Ok(());
    }
    fs::write(&seen, flake).with_context(|| format!("cannot write {}", seen.display()))
}

fn is_seen(workspace: &Path, links: &Path) -> bool {
    fs::read_to_string(links.join(SEEN)).is_ok_and(|seen| seen == fingerprint(workspace))
}

fn fingerprint(workspace: &Path) -> String {
    let mut hash = Sha256::new();
    for file in ["flake.nix", "flake.lock"] {
        let bytes = fs::read(workspace.join(file)).unwrap_or_default();
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    format!("{:x}", hash.finalize())
}

fn git(directory: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = duct::cmd("git", arguments)
        .dir(directory)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()
        .context("cannot start git")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {said}", arguments[0]);
    Ok(output.stdout)
}

/// Whether Nix would call the repository dirty.
fn is_changed(workspace: &Path) -> Result<bool> {
    let arguments = ["status", "--porcelain", "--untracked-files=no"];
    Ok(!git(workspace, &arguments)?.is_empty())
}

/// The tracked files, relative to the top; none where git keeps other things in it than files and links.
fn tracked(repository: &Path) -> Result<Option<BTreeSet<PathBuf>>> {
    let listed = git(repository, &["ls-files", "--stage", "-z"])?;
    let mut files = BTreeSet::new();
    for line in listed
        .split(|&byte| byte == 0)
        .filter(|line| !line.is_empty())
    {
        let Some(tab) = line.iter().position(|&byte| byte == b'\t') else {
            return Ok(None);
        };
        let is_file = line.starts_with(b"100") || line.starts_with(b"120");
        if !is_file {
            return Ok(None);
        }
        files.insert(OsString::from_vec(line[tab + 1..].to_vec()).into());
    }
    Ok(Some(files))
}

fn below(workspace: &Path, repository: &Path) -> Result<String> {
    let inner = workspace.strip_prefix(repository.canonicalize()?)?;
    let inner = inner.to_str().context("the workspace's path is no text")?;
    Ok(match inner {
        "" => String::new(),
        inner => format!("/{inner}"),
    })
}

/// None while another process uses the copy.
fn lock(links: &Path) -> Result<Option<File>> {
    let path = links.join(format!("{}.lock", Tree::NAME));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Whether a file has not changed since it was copied. The copy's time is when the file was last changed in any way,
/// its time and its mode included.
fn is_same(file: &Metadata, copy: &Path) -> bool {
    copy.symlink_metadata().is_ok_and(|copy| {
        copy.file_type() == file.file_type()
            && copy.len() == file.len()
            && (copy.mtime(), copy.mtime_nsec()) == (file.ctime(), file.ctime_nsec())
    })
}

fn place(from: &Path, found: &Metadata, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        if !directory.is_dir() {
            remove_files_above(directory)?;
            fs::create_dir_all(directory)?;
        }
    }
    remove(to)?;
    if found.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else {
        fs::write(to, fs::read(from)?)?;
        fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o777 | 0o600))?;
    }
    let time = match tells(found) {
        true => Timespec {
            tv_sec: found.ctime(),
            tv_nsec: found.ctime_nsec(),
        },
        false => Timespec::default(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        to,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Whether one more change would give the file another time.
fn tells(file: &Metadata) -> bool {
    let changed = Duration::new(file.ctime().unsigned_abs(), file.ctime_nsec() as u32);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.is_ok_and(|now| now > changed + TELLING)
}

/// A directory may stand where a file stood.
fn remove_files_above(directory: &Path) -> Result<()> {
    for above in directory.ancestors() {
        match above.symlink_metadata() {
            Ok(found) if found.is_dir() => break,
            Ok(_) => remove(above)?,
            Err(_) => {}
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
