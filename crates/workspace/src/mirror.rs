//! Keeps copies of a repository's files up to date.
//!
//! The repository and the links in it may be somebody else's. Links are never followed, neither in
//! the files nor in their copy.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use crateyard_disk::{Directory, is_directory};
use rustix::fs::{FileType, Stat, Timespec};

/// The time after a file's change within which it may change again without getting a new time.
const TELLING: Duration = Duration::from_secs(1);

/// Updates a copy so that it has exactly these files and links, relative to the repository. Leaves
/// out files that do not exist.
///
/// The copy of a file has the time of the file's last change of any kind, including changes of its
/// mode. The next update recognizes unchanged files by it.
///
/// # Errors
/// Fails if a file can't be read or written, or a link is on the way to one.
pub fn update(repository: &Directory, files: &BTreeSet<PathBuf>, copy: &Directory) -> Result<()> {
    let mut expected = BTreeSet::new();
    let mut open: Option<(PathBuf, Directory, Directory)> = None;
    for file in files {
        let context = || format!("cannot copy {}", repository.path().join(file).display());
        let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else {
            continue;
        };
        if open.as_ref().is_none_or(|(path, ..)| path != parent) {
            let Some(from) = repository.directory(parent).with_context(context)? else {
                continue;
            };
            let to = make_way(copy, parent).with_context(context)?;
            open = Some((parent.to_owned(), from, to));
        }
        if let Some((_, from, to)) = &open {
            // git lists a deleted file until the deletion is staged.
            if let Some(found) = from.status(name).with_context(context)? {
                place(from, to, Path::new(name), &found).with_context(context)?;
                expected.extend(file.ancestors().map(Path::to_owned));
            }
        }
    }
    let removed = remove_others(copy, Path::new(""), &expected);
    removed.with_context(|| format!("cannot tidy {}", copy.path().display()))
}

/// Makes the directory of a copied file, and replaces anything in its place that is not a
/// directory.
fn make_way(copy: &Directory, parent: &Path) -> io::Result<Directory> {
    let mut here = copy.make_directory("")?;
    for name in parent {
        let is_in_the_way = |status: Stat| !is_directory(&status);
        if here.status(name)?.is_some_and(is_in_the_way) {
            here.remove_file(name)?;
        }
        here = here.make_directory(name)?;
    }
    Ok(here)
}

fn place(from: &Directory, to: &Directory, name: &Path, found: &Stat) -> io::Result<()> {
    if to.status(name)?.is_some_and(|copy| is_same(found, &copy)) {
        return Ok(());
    }
    to.remove_all(name)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => {
            let target = from.link_target(name).ok_or(ErrorKind::NotFound)?;
            to.link(name, &target)?;
        }
        FileType::RegularFile => {
            let mut file = from.file(name)?.ok_or(ErrorKind::NotFound)?;
            let mode = found.st_mode & 0o777 | 0o600;
            io::copy(&mut file, &mut to.create_file(name, mode)?)?;
        }
        _ => return Err(io::Error::other("it is neither a file nor a link")),
    }
    let time = match tells(found) {
        true => changed(found),
        false => Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
    };
    to.set_time(name, time)
}

/// Removes files that the repository does not have.
fn remove_others(
    directory: &Directory,
    path: &Path,
    expected: &BTreeSet<PathBuf>,
) -> io::Result<()> {
    for name in directory.names()? {
        let inner = path.join(&name);
        if !expected.contains(&inner) {
            directory.remove_all(&name)?;
        } else if directory.status(&name)?.is_some_and(|it| is_directory(&it)) {
            if let Some(below) = directory.directory(&name)? {
                remove_others(&below, &inner, expected)?;
            }
        }
    }
    Ok(())
}

/// Whether a file has not changed since it was copied.
fn is_same(file: &Stat, copy: &Stat) -> bool {
    let copied = (copy.st_mtime, copy.st_mtime_nsec);
    FileType::from_raw_mode(copy.st_mode) == FileType::from_raw_mode(file.st_mode)
        && copy.st_size == file.st_size
        && copied == (file.st_ctime, file.st_ctime_nsec)
}

fn changed(file: &Stat) -> Timespec {
    Timespec {
        tv_sec: file.st_ctime,
        tv_nsec: file.st_ctime_nsec as _,
    }
}

/// Whether another change would give the file a new time.
fn tells(file: &Stat) -> bool {
    let changed = Duration::new(file.st_ctime.unsigned_abs(), file.st_ctime_nsec as u32);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.is_ok_and(|now| now > changed + TELLING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Scene {
        directory: tempfile::TempDir,
        files: BTreeSet<PathBuf>,
    }

    impl Scene {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            for name in ["repository", "copy", "other"] {
                fs::create_dir(directory.path().join(name)).unwrap();
            }
            fs::write(directory.path().join("other/letter"), "mine").unwrap();
            let files = BTreeSet::new();
            Self { directory, files }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.directory.path().join(path)
        }

        fn update(&self) -> Result<()> {
            let open = |name| Directory::open(&self.path(name)).unwrap();
            update(&open("repository"), &self.files, &open("copy"))
        }

        fn write(&mut self, name: &str, text: &str) {
            let path = self.path("repository").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self.files.insert(name.into());
        }
    }

    #[test]
    fn a_copy_has_these_files_and_no_others() {
        let mut scene = Scene::new();
        scene.write("a/b/c", "one");
        scene.write("d", "two");
        symlink("d", scene.path("repository/link")).unwrap();
        scene.files.insert("link".into());
        scene.update().unwrap();
        fs::write(scene.path("copy/more"), "").unwrap();
        scene.write("a/b/c", "another");
        scene.files.remove(Path::new("d"));
        scene.update().unwrap();
        assert_eq!(fs::read(scene.path("copy/a/b/c")).unwrap(), b"another");
        assert_eq!(
            fs::read_link(scene.path("copy/link")).unwrap(),
            Path::new("d")
        );
        assert!(!scene.path("copy/more").exists() && !scene.path("copy/d").exists());
    }

    /// A path is tracked first as a link, then as a directory with files. The copy must not write
    /// through the link.
    #[test]
    fn a_link_of_the_last_time_is_not_written_through() {
        let mut scene = Scene::new();
        symlink(scene.path("other"), scene.path("repository/d")).unwrap();
        scene.files.insert("d".into());
        scene.update().unwrap();
        assert!(scene.path("copy/d").is_symlink());
        fs::remove_file(scene.path("repository/d")).unwrap();
        scene.files.clear();
        scene.write("d/letter", "theirs");
        scene.update().unwrap();
        assert_eq!(fs::read(scene.path("other/letter")).unwrap(), b"mine");
        assert_eq!(fs::read(scene.path("copy/d/letter")).unwrap(), b"theirs");
    }

    #[test]
    fn a_link_on_the_way_to_a_file_is_not_read_through() {
        let mut scene = Scene::new();
        symlink(scene.path("other"), scene.path("repository/d")).unwrap();
        scene.files.insert("d/letter".into());
        let error = format!("{:#}", scene.update().unwrap_err());
        assert!(error.contains("symbolic link"), "{error}");
        assert!(!scene.path("copy/d/letter").exists());
    }
}
