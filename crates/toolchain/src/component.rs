//! The files of a component.
//!
//! Each component is a root file system with its files below `usr`. So a cell can join several
//! components, and rustc finds its libraries beside itself.

use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::{Component as Part, Path, PathBuf};

use crateyard_oci::limits::MAX_XZ_MEMORY;
use lzma_rust2::XzReader;
use tempfile::TempDir;

use crate::error::{Error, Result, io};

/// The most bytes of an unpacked archive. The largest component of a release has 1 GB.
const MAX_UNPACKED: u64 = 8 << 30;
/// The most bytes of a list of files. rust-docs has the longest, with 10 MB.
const MAX_LIST: u64 = 64 << 20;

/// The directory of a component's files in its root file system.
const PREFIX: &str = "usr";

/// A component's files, in a temporary directory that is removed on drop.
pub struct Files {
    directory: TempDir,
    name: String,
}

impl Files {
    /// Creates an empty tree for the store name `name`, beside `near`, so that the tree can hold
    /// links to files there.
    fn empty(name: &str, near: &Path) -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix(".crateyard-")
            .tempdir_in(near)
            .or_else(|_| tempfile::tempdir());
        let directory = made.map_err(io(near))?;
        let files = Self {
            directory,
            name: name.to_owned(),
        };
        let root = files.path().join(PREFIX);
        fs::create_dir_all(&root).map_err(io(&root))?;
        Ok(files)
    }

    /// Returns the tree, under its name in the store.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Computes the SHA-256 of the tree as a Nix archive, in lower-case hexadecimal. It decides the
    /// tree's store path.
    ///
    /// # Errors
    /// Fails if the tree can't be read.
    pub fn sha256(&self) -> Result<String> {
        let path = self.path();
        let hash = crateyard_nix::nar::hash(&path).map_err(io(&path))?;
        Ok(hash.base16())
    }

    /// Links the files of a list from `source`, or copies them if links are impossible. `scratch`
    /// is a directory on the same file system, if there is one.
    pub(crate) fn linked(
        name: &str,
        source: &Path,
        list: &[Listed],
        scratch: &Path,
    ) -> Result<Self> {
        let files = Self::empty(name, scratch)?;
        let root = files.path().join(PREFIX);
        for listed in list {
            link(&source.join(listed.path()), &root.join(listed.path()))?;
        }
        Ok(files)
    }

    /// Unpacks a component's archive (`.tar.xz`). Nothing outside of it is read or moved, also if
    /// it has links that lead there.
    ///
    /// # Errors
    /// Fails if the archive can't be read, is too large, or does not hold a component.
    pub fn unpacked(name: &str, archive: &Path) -> Result<Self> {
        let files = Self::empty(name, &std::env::temp_dir())?;
        let raw = files.directory.path().join("archive");
        let file = File::open(archive).map_err(io(archive))?;
        // The end of a larger one is missing.
        let file = BufReader::with_capacity(1 << 16, file);
        let unpacked = XzReader::new_mem_limit(file, true, MAX_XZ_MEMORY);
        let mut tar = tar::Archive::new(unpacked.take(MAX_UNPACKED));
        tar.unpack(&raw).map_err(io(archive))?;
        let wrong = |reason: String| Error::Archive {
            archive: archive.to_owned(),
            reason,
        };
        let top = only_directory(&raw)?
            .ok_or_else(|| wrong("it has no single directory at its top".to_owned()))?;
        let names = text_of(&top, Path::new("components")).map_err(wrong)?;
        let root = files.path().join(PREFIX);
        for part in names.lines() {
            let part = checked(part).map_err(wrong)?;
            let text = text_of(&top, &part.join("manifest.in")).map_err(wrong)?;
            for listed in parse_list(&text).map_err(wrong)? {
                let from = below(&top, &part.join(listed.path())).map_err(wrong)?;
                let to = free(&root, listed.path()).map_err(wrong)?;
                make_parent(&to)?;
                fs::rename(&from, &to).map_err(io(&from))?;
            }
        }
        fs::remove_dir_all(&raw).map_err(io(&raw))?;
        Ok(files)
    }
}

/// Returns the place of a path below a directory. Everything on the way there that exists must be a
/// directory: a link that the archive brought would lead the move outside.
fn free(root: &Path, path: &Path) -> std::result::Result<PathBuf, String> {
    let mut place = root.to_owned();
    for part in path {
        if std::fs::symlink_metadata(&place).is_ok_and(|it| !it.is_dir()) {
            return Err(format!(
                "`{}` lies below something that is not a directory",
                path.display()
            ));
        }
        place.push(part);
    }
    Ok(place)
}

/// An entry of a component's list of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// One file.
    File(PathBuf),
    /// A directory with all its content.
    Directory(PathBuf),
}

impl Listed {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Directory(path) => path,
        }
    }
}

/// Reads a list of lines `file:PATH` and `dir:PATH`, the format of archives and rustup.
///
/// # Errors
/// Fails with the quoted line if a line is malformed or leads out of the component.
pub(crate) fn parse_list(text: &str) -> std::result::Result<Vec<Listed>, String> {
    let listed = |line: &str| match line.split_once(':') {
        Some(("file", path)) => checked(path).map(Listed::File),
        Some(("dir", path)) => checked(path).map(Listed::Directory),
        _ => Err(format!("`{line}` is not a line of a list of files")),
    };
    text.lines().map(listed).collect()
}

/// Checks that a path is relative and stays within its directory.
fn checked(path: &str) -> std::result::Result<PathBuf, String> {
    let checked = PathBuf::from(path);
    let is_plain = |part: Part<'_>| matches!(part, Part::Normal(_));
    match !path.is_empty() && checked.components().all(is_plain) {
        true => Ok(checked),
        false => Err(format!("the path `{path}` leads out of the component")),
    }
}

/// Returns the path of a file or directory of an unpacked archive. The way to it has no link, which
/// could lead out of the archive.
fn below(top: &Path, path: &Path) -> std::result::Result<PathBuf, String> {
    let mut place = top.to_owned();
    for part in path {
        let status = fs::symlink_metadata(&place);
        if !status.is_ok_and(|status| status.is_dir()) {
            return Err(format!(
                "the way to `{}` is not a directory",
                path.display()
            ));
        }
        place.push(part);
    }
    Ok(place)
}

/// Reads a list in an unpacked archive.
fn text_of(top: &Path, path: &Path) -> std::result::Result<String, String> {
    let place = below(top, path)?;
    let is_list = |status: fs::Metadata| status.is_file() && status.len() <= MAX_LIST;
    if !fs::symlink_metadata(&place).is_ok_and(is_list) {
        return Err(format!("it has no list `{}`", path.display()));
    }
    fs::read_to_string(&place).map_err(|error| format!("`{}`: {error}", path.display()))
}

fn only_directory(path: &Path) -> Result<Option<PathBuf>> {
    let entries: std::io::Result<Vec<_>> = fs::read_dir(path).map_err(io(path))?.collect();
    let entries = entries.map_err(io(path))?;
    Ok(match &entries[..] {
        [only] if only.file_type().map_err(io(path))?.is_dir() => Some(only.path()),
        _ => None,
    })
}

/// Links or copies a file or a directory with all its content.
fn link(from: &Path, to: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(from).map_err(io(from))?;
    if metadata.is_dir() {
        fs::create_dir_all(to).map_err(io(to))?;
        for entry in fs::read_dir(from).map_err(io(from))? {
            let name = entry.map_err(io(from))?.file_name();
            link(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    make_parent(to)?;
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(io(from))?;
        return std::os::unix::fs::symlink(target, to).map_err(io(to));
    }
    fs::copy(from, to).map(drop).map_err(io(from))
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(io(parent)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of an archive: a file with its content, or a link with its target.
    enum Entry<'a> {
        File(&'a str),
        Link(&'a str),
    }
    use Entry::{File as Text, Link};

    /// Unpacks an archive with these entries, and returns the error.
    fn refusal(entries: &[(&str, Entry<'_>)]) -> String {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, entry) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            match entry {
                Text(content) => {
                    header.set_size(content.len() as u64);
                    builder
                        .append_data(&mut header, path, content.as_bytes())
                        .unwrap();
                }
                Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    builder.append_link(&mut header, path, target).unwrap();
                }
            }
        }
        let bytes = builder.into_inner().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        fs::write(&path, bytes).unwrap();
        let packed = std::process::Command::new("xz").arg(&path).status();
        assert!(packed.expect("xz packs the archive").success());
        let unpacked = Files::unpacked("a", &path.with_extension("tar.xz"));
        unpacked.err().unwrap().to_string()
    }

    #[test]
    fn an_archive_that_asks_for_much_memory_is_refused() {
        // An xz stream whose block asks for a dictionary of 192 MiB (code 31), with both checksums.
        let stream = b"\xfd7zXZ\0\0\x01\x69\x22\xde\x36\x02\0\x21\x01\x1f\0\0\0\xfe\x60\xed\xde";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar.xz");
        fs::write(&path, stream).unwrap();
        let error = Files::unpacked("a", &path).err().unwrap();
        let said = format!("{error:?}");
        assert!(said.contains("mem"), "{said}");
    }

    #[test]
    fn an_archive_moves_and_reads_nothing_outside() {
        let outside = tempfile::tempdir().unwrap();
        let letter = outside.path().join("letter");
        fs::write(&letter, "file:mine\n").unwrap();
        let elsewhere = outside.path().to_str().unwrap();
        let list = ("x/a/manifest.in", Text("file:d/letter\n"));
        for (entries, why) in [
            (
                vec![
                    ("x/components", Text("a\n")),
                    list,
                    ("x/a/d", Link(elsewhere)),
                ],
                "is not a directory",
            ),
            (
                vec![("x/components", Text("a\n")), ("x/a", Link(elsewhere))],
                "is not a directory",
            ),
            (
                vec![
                    ("x/components", Text("a\nb\n")),
                    ("x/a/manifest.in", Text("dir:share\n")),
                    ("x/a/share/l", Link(elsewhere)),
                    ("x/b/manifest.in", Text("file:share/l/letter\n")),
                    ("x/b/share/l/letter", Text("theirs\n")),
                ],
                "below something that is not a directory",
            ),
            (
                vec![("x/components", Link("/dev/zero"))],
                "no list `components`",
            ),
            (vec![("x/components", Text("../a\n"))], "leads out"),
            (
                vec![
                    ("x/components", Text("a\n")),
                    ("x/a/manifest.in", Link("/proc/self/environ")),
                ],
                "no list",
            ),
            (vec![("x", Link(elsewhere))], "no single directory"),
        ] {
            let said = refusal(&entries);
            assert!(said.contains(why), "{said}");
            assert_eq!(fs::read_to_string(&letter).unwrap(), "file:mine\n");
        }
    }

    #[test]
    fn lists_stay_within_their_component() {
        let list = parse_list("file:bin/cargo\ndir:share/doc\n").unwrap();
        assert_eq!(list[0], Listed::File("bin/cargo".into()));
        assert_eq!(list[1], Listed::Directory("share/doc".into()));
        for line in [
            "bin/cargo",
            "file:/etc/passwd",
            "file:../x",
            "file:",
            "link:a",
        ] {
            let said = parse_list(line).unwrap_err();
            assert!(said.contains('`'), "{said}");
        }
    }
}
