//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, ensure};
use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

/// Writes a file through a temporary one in the same directory.
///
/// # Errors
/// When the directory can't be written; the old file at `path` then stays.
pub(crate) fn write(path: &Path, content: &mut impl Read) -> anyhow::Result<()> {
    write_whole(path, content).with_context(|| format!("can't write {}", path.display()))
}

fn write_whole(path: &Path, content: &mut impl Read) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
    io::copy(content, &mut file)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Copies a file into a directory, and makes the directory if it is missing. Leaves an equal file
/// alone, including its times.
///
/// # Errors
/// When the file can't be read or the copy can't be written.
pub(crate) fn place(file: &Path, directory: &Path) -> anyhow::Result<()> {
    let name = file.file_name().context("a file without a name")?;
    let target = directory.join(name);
    fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    if are_equal(file, &target).unwrap_or(false) {
        return Ok(());
    }
    let mut content = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    write(&target, &mut content)
}

fn are_equal(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let mut blocks = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let size = a.read(&mut blocks.0)?;
        if size == 0 {
            return Ok(true);
        }
        b.read_exact(&mut blocks.1[..size])?;
        if blocks.0[..size] != blocks.1[..size] {
            return Ok(false);
        }
    }
}

/// Makes a directory that only this user can enter. Programs are unpacked into it and run from it,
/// and it may be in `/tmp`, so a directory that somebody else made is refused.
///
/// # Errors
/// When the directory can't be made, or belongs to another user.
pub(crate) fn private_directory(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.with_context(|| format!("can't make {}; see --data-dir", path.display()))?;
    let metadata = fs::symlink_metadata(path)?;
    let user = rustix::process::geteuid().as_raw();
    ensure!(
        metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o022 == 0,
        "{} must be a directory of user {user} that no one else can write; remove it or see \
         --data-dir",
        path.display()
    );
    Ok(())
}

/// Removes a directory with everything in it, if it exists.
///
/// # Errors
/// When something in it can't be removed.
pub(crate) fn remove_tree(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Locks a file until the result is dropped, or the process ends.
///
/// # Errors
/// When another process holds the lock.
pub(crate) fn lock(path: &Path) -> anyhow::Result<File> {
    let open = File::options().create(true).append(true).open(path);
    let file = open.with_context(|| format!("can't open {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another node holds {}; see --data-dir", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn an_equal_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (file, target) = (directory.path().join("a"), directory.path().join("to"));
        fs::write(&file, "one").unwrap();
        place(&file, &target).unwrap();
        let inode = fs::metadata(target.join("a")).unwrap().ino();
        place(&file, &target).unwrap();
        assert_eq!(fs::metadata(target.join("a")).unwrap().ino(), inode);

        fs::write(&file, "two").unwrap();
        place(&file, &target).unwrap();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"two");
        assert_eq!(target.read_dir().unwrap().count(), 1, "no temporary file");
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (open, link) = (directory.path().join("open"), directory.path().join("link"));
        private_directory(&open).unwrap();
        private_directory(&open).unwrap();
        symlink(&open, &link).unwrap();
        assert!(private_directory(&link).is_err());
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let error = private_directory(&open).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }
}
