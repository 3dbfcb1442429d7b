//! Unpacks layers, one over the other, into a directory. The user needs no access to anything else.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/layer.md>
//!
//! It leaves out everything that needs privileges: owners, devices, the set-user-id bits. It writes
//! nothing outside the directory, whatever a layer contains.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use oci_spec::image::{Descriptor, MediaType};
use sha2::{Digest, Sha256};
use tar::{Entry, EntryType};

use crate::archive::{Archive, Image, hex_of};
use crate::rooted::{Missing, resolve};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Unpacks all layers of an image into `root`, an empty directory.
///
/// # Errors
/// When a layer is damaged or contradicts itself. `root` is then incomplete.
pub(crate) fn unpack(archive: &Archive, image: &Image, root: &Path) -> anyhow::Result<()> {
    let diff_ids = image.config.rootfs().diff_ids();
    for (layer, diff_id) in image.layers.iter().zip(diff_ids) {
        unpack_layer(archive, layer, diff_id, root)
            .with_context(|| format!("layer {}", layer.digest()))?;
    }
    Ok(())
}

fn unpack_layer(
    archive: &Archive,
    layer: &Descriptor,
    diff_id: &str,
    root: &Path,
) -> anyhow::Result<()> {
    let blob = archive.blob(layer)?;
    let mut content = Hashing::new(decompress(layer.media_type(), blob)?);
    let mut over = Layer {
        root,
        written: HashSet::new(),
    };
    let mut tar = tar::Archive::new(&mut content);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        over.apply(&path, &mut entry)
            .with_context(|| format!("entry {path:?}"))?;
    }
    let actual = content.finish()?;
    ensure!(
        actual == diff_id,
        "its content has the digest {actual}, the configuration says {diff_id}"
    );
    Ok(())
}

fn decompress<'a>(
    media_type: &MediaType,
    blob: impl Read + 'a,
) -> anyhow::Result<Box<dyn Read + 'a>> {
    let name = media_type.to_string();
    Ok(match name.rsplit(['.', '+']).next() {
        Some("tar") => Box::new(blob),
        Some("gzip") => Box::new(flate2::read::MultiGzDecoder::new(blob)),
        Some("zstd") => Box::new(zstd::Decoder::new(blob)?),
        _ => bail!("media type {name:?} is not supported"),
    })
}

/// A layer that is being unpacked over those below it.
struct Layer<'a> {
    root: &'a Path,
    /// The paths that this layer has written, with all directories above them: whiteouts hide only
    /// files of lower layers.
    written: HashSet<PathBuf>,
}

impl Layer<'_> {
    fn apply(&mut self, path: &Path, entry: &mut Entry<impl Read>) -> anyhow::Result<()> {
        let Some((parent, name)) = split(path)? else {
            // The root itself exists already.
            return Ok(());
        };
        let parent = resolve(self.root, &parent, Missing::Make)?;
        if name.as_bytes() == OPAQUE {
            return self.hide_all(&parent);
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            ensure!(!matches!(hidden, b"" | b"." | b".."), "whiteout of nothing");
            return self.hide(&parent.join(OsStr::from_bytes(hidden)));
        }
        let target = parent.join(name);
        let made = match entry.header().entry_type() {
            EntryType::Directory => make_directory(&target, mode(entry)? | 0o700),
            EntryType::Symlink => make_symlink(&target, entry),
            EntryType::Link => self.make_link(&target, entry),
            EntryType::Char | EntryType::Block | EntryType::Fifo => return Ok(()),
            kind if kind.is_file() || kind.is_gnu_sparse() || kind.is_contiguous() => {
                make_file(&target, entry)
            }
            kind => bail!(
                "entry type {:?} is not supported",
                char::from(kind.as_byte())
            ),
        };
        made?;
        self.written.extend(target.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn make_link(&self, target: &Path, entry: &Entry<impl Read>) -> anyhow::Result<()> {
        let original = entry.link_name()?.context("a link to nothing")?;
        let (parent, name) = split(&original)?.context("a link to the root")?;
        let original = resolve(self.root, &parent, Missing::Fail)?.join(name);
        if original == *target {
            return Ok(());
        }
        remove(target)?;
        fs::hard_link(&original, target).with_context(|| format!("link to {original:?}"))
    }

    /// Removes the files of lower layers at this path.
    fn hide(&self, path: &Path) -> anyhow::Result<()> {
        if self.written.contains(path) {
            return Ok(());
        }
        remove(path)
    }

    /// Removes the files of lower layers below this directory.
    fn hide_all(&self, directory: &Path) -> anyhow::Result<()> {
        for child in directory.read_dir()? {
            let child = child?.path();
            if !self.written.contains(&child) {
                remove(&child)?;
            } else if child.symlink_metadata()?.is_dir() {
                self.hide_all(&child)?;
            }
        }
        Ok(())
    }
}

/// Splits a path into parent and name. Returns nothing for the root. Entries are relative to the
/// root, even those that begin with `/`.
fn split(path: &Path) -> anyhow::Result<Option<(PathBuf, &OsStr)>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!("a path must not leave the root"),
        }
    }
    let name = names.pop();
    Ok(name.map(|name| (names.iter().collect(), name)))
}

fn make_directory(target: &Path, mode: u32) -> anyhow::Result<()> {
    if !target.symlink_metadata().is_ok_and(|there| there.is_dir()) {
        remove(target)?;
        fs::create_dir(target)?;
    }
    fs::set_permissions(target, Permissions::from_mode(mode))?;
    Ok(())
}

fn make_file(target: &Path, entry: &mut Entry<impl Read>) -> anyhow::Result<()> {
    remove(target)?;
    let mut file = File::create_new(target)?;
    io::copy(entry, &mut file)?;
    file.set_permissions(Permissions::from_mode(mode(entry)? | 0o400))?;
    Ok(())
}

fn make_symlink(target: &Path, entry: &Entry<impl Read>) -> anyhow::Result<()> {
    let content = entry.link_name()?.context("a symbolic link to nothing")?;
    remove(target)?;
    symlink(content, target)?;
    Ok(())
}

/// Returns the permissions, without set-user-id, set-group-id and sticky bits.
fn mode(entry: &Entry<impl Read>) -> io::Result<u32> {
    Ok(entry.header().mode()? & 0o777)
}

/// Removes the file or directory at a path, if there is one.
fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    removed.with_context(|| format!("can't remove {path:?}"))
}

/// A reader that passes bytes on and computes their digest.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Hashing {
            inner,
            hasher: Sha256::new(),
        }
    }

    /// Reads the rest (tar stops before the padding), and returns the digest of all bytes.
    fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(format!("sha256:{}", hex_of(self.hasher)))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..size]);
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compression, Layer, archive};
    use std::os::unix::fs::MetadataExt;

    /// Unpacks an image of these layers.
    fn unpacked(layers: Vec<Layer>) -> anyhow::Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("image.tar");
        let compressions = [Compression::Gzip, Compression::Zstd, Compression::None];
        let layers = layers.into_iter().zip(compressions.into_iter().cycle());
        fs::write(&path, archive(layers, &["/app"], &[]))?;
        let root = directory.path().join("root");
        fs::create_dir(&root)?;
        let archive = Archive::open(&path)?;
        unpack(&archive, &archive.image()?, &root)?;
        Ok(directory)
    }

    fn error(layers: Vec<Layer>) -> String {
        format!("{:#}", unpacked(layers).unwrap_err())
    }

    fn read(directory: &tempfile::TempDir, path: &str) -> Option<String> {
        fs::read_to_string(directory.path().join("root").join(path)).ok()
    }

    #[test]
    fn later_layers_lie_over_earlier_ones() {
        let directory = unpacked(vec![
            Layer::new()
                .directory("usr/lib")
                .symlink("lib", "usr/lib")
                .file("a", "1"),
            Layer::new()
                .file("lib/x", "x")
                .file("a", "2")
                .file("deep/er/b", "b"),
            Layer::new().link("hard", "lib/x").file("/absolute", "c"),
        ])
        .unwrap();
        assert_eq!(read(&directory, "usr/lib/x").unwrap(), "x");
        assert_eq!(read(&directory, "a").unwrap(), "2");
        assert_eq!(read(&directory, "deep/er/b").unwrap(), "b");
        assert_eq!(read(&directory, "hard").unwrap(), "x");
        assert_eq!(read(&directory, "absolute").unwrap(), "c");
    }

    #[test]
    fn a_file_replaces_a_link_and_not_its_target() {
        let directory = unpacked(vec![
            Layer::new().file("target", "old").symlink("name", "target"),
            Layer::new().file("name", "new"),
        ])
        .unwrap();
        assert_eq!(read(&directory, "target").unwrap(), "old");
        assert_eq!(read(&directory, "name").unwrap(), "new");
    }

    #[test]
    fn whiteouts_hide_what_lies_below() {
        let directory = unpacked(vec![
            Layer::new()
                .file("d/old", "")
                .file("e/old", "")
                .file("e/sub/old", "")
                .file("f", ""),
            Layer::new()
                .file("d/.wh.old", "")
                .file(".wh.f", "")
                .file(".wh.never-there", "")
                .file("e/sub/new", "new")
                .file("e/.wh..wh..opq", "")
                .file("e/new", "new"),
        ])
        .unwrap();
        for gone in ["d/old", "e/old", "e/sub/old", "f"] {
            assert_eq!(read(&directory, gone), None, "{gone}");
        }
        assert_eq!(read(&directory, "e/new").unwrap(), "new");
        assert_eq!(read(&directory, "e/sub/new").unwrap(), "new");
        assert!(directory.path().join("root/d").is_dir());
    }

    #[test]
    fn nothing_leaves_the_root() {
        for path in ["../outside", "a/../../outside", "/../outside"] {
            let words = error(vec![Layer::new().file(path, "bad")]);
            assert!(words.contains("must not leave the root"), "{words}");
            assert!(words.contains("outside"), "{words}");
        }
        // These leave the directory through links, but end inside the root.
        let directory = unpacked(vec![
            Layer::new().symlink("up", "../../..").symlink("etc", "/"),
            Layer::new().file("up/one", "1").file("etc/two", "2"),
        ])
        .unwrap();
        assert_eq!(read(&directory, "one").unwrap(), "1");
        assert_eq!(read(&directory, "two").unwrap(), "2");
        assert_eq!(directory.path().read_dir().unwrap().count(), 2);
        // A hard link to a file of the machine.
        let words = error(vec![Layer::new().link("passwd", "../../../etc/passwd")]);
        assert!(words.contains("must not leave the root"), "{words}");
        let words = error(vec![Layer::new().link("passwd", "/etc/passwd")]);
        assert!(words.contains("passwd"), "{words}");
        // Whiteouts of the directory itself and of its parent.
        for path in [".wh.", ".wh..", ".wh..."] {
            let words = error(vec![
                Layer::new().file("d/x", "").file(&format!("d/{path}"), ""),
            ]);
            assert!(words.contains("whiteout of nothing"), "{path}: {words}");
        }
    }

    #[test]
    fn permissions_stay_but_not_the_dangerous_ones() {
        let directory = unpacked(vec![Layer::new().file_with_mode("app", "", 0o4755)]).unwrap();
        let mode = fs::metadata(directory.path().join("root/app"))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o7777, 0o755);
    }

    #[test]
    fn damage_is_found_before_anything_is_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.tar");
        let layer = (Layer::new().file("secret", "content"), Compression::None);
        let good = archive([layer], &["/app"], &[]);
        let position = good
            .windows(7)
            .position(|bytes| bytes == b"content")
            .unwrap();
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(&path, bad).unwrap();
        let archive = Archive::open(&path).unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        let error = unpack(&archive, &archive.image().unwrap(), &root).unwrap_err();
        assert!(
            format!("{error:#}").contains("has the digest sha256:"),
            "{error:#}"
        );
        assert_eq!(root.read_dir().unwrap().count(), 0);

        fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(
            Archive::open(&path)
                .and_then(|a| a.image().map(drop))
                .is_err()
        );
    }
}
