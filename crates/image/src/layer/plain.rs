//! The plain sources: a file, a directory, a text, a link.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use crateyard_spec::{Attributes, check_attribute};

use super::tree::{Body, Content, Node, Standing, Tree, check_component, image_path};
use crate::auditable::Patch;
use crate::spec::{
    CopySource, DirectorySource, FileSource, LinkedCrates, SymlinkSource, TextSource, TreeSource,
};
use crate::{Error, Result};

pub(super) fn add_file(tree: &mut Tree, at: &str, source: &FileSource) -> Result<()> {
    let to = file_path(&format!("{at}.to"), &source.to)?;
    let metadata = fs::metadata(&source.from).map_err(Error::io("read", &source.from))?;
    if !metadata.is_file() {
        return Err(Error::spec(
            format!("{at}.from"),
            format!("{} is not a regular file", source.from.display()),
            "use kind \"tree\" for a directory",
        ));
    }
    let content = match &source.crates {
        Some(crates) => program(at, source, crates)?,
        None => Content::File {
            path: source.from.clone(),
            length: metadata.len(),
        },
    };
    let mode = source.mode.map_or(plain_mode(&metadata), |mode| mode.0);
    let origin = format!("{at} (file {})", shown(&source.from));
    let mut node = file_node(content, mode, source.uid, source.gid, &origin);
    node.xattrs = checked_xattrs(at, &source.xattrs)?;
    tree.insert(to, node)
}

/// Reads a program and adds the list of its crates.
fn program(at: &str, source: &FileSource, crates: &LinkedCrates) -> Result<Content> {
    let path = &source.from;
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let length = bytes.len() as u64;
    let patch = Patch::new(&bytes, crates).map_err(|problem| {
        Error::spec(
            format!("{at}.crates"),
            format!("{} can't carry a list of crates: {problem}", path.display()),
            "leave the list out: images.NAME.crate-list = false in images.toml",
        )
    })?;
    Ok(match patch {
        Some(patch) => Content::Patched {
            path: path.clone(),
            length: length + patch.tail.len() as u64,
            patch: patch.into(),
        },
        None => Content::File {
            path: path.clone(),
            length,
        },
    })
}

pub(super) fn add_tree(tree: &mut Tree, at: &str, source: &TreeSource) -> Result<()> {
    let to = image_path(&format!("{at}.to"), &source.to)?;
    let metadata = fs::metadata(&source.from).map_err(Error::io("read", &source.from))?;
    if !metadata.is_dir() {
        return Err(Error::spec(
            format!("{at}.from"),
            format!("{} is not a directory", source.from.display()),
            "use kind \"file\" for a file",
        ));
    }
    let copy = TreeCopy {
        source,
        origin: format!("{at} (tree {})", shown(&source.from)).into(),
    };
    if !to.is_empty() {
        tree.insert(to.clone(), copy.node(Body::Directory, 0o755))?;
    }
    copy.directory(tree, &source.from, &to)
}

/// Adds an unchanged file or directory.
pub(super) fn add_copy(tree: &mut Tree, at: &str, source: &CopySource) -> Result<()> {
    let CopySource {
        from,
        to,
        mode,
        uid,
        gid,
        xattrs,
    } = source.clone();
    if from.is_dir() {
        refuse_xattrs(at, &source.to, &xattrs)?;
        let source = TreeSource {
            from,
            to,
            mode,
            uid,
            gid,
        };
        return add_tree(tree, at, &source);
    }
    let source = FileSource {
        from,
        to,
        mode,
        uid,
        gid,
        xattrs,
        crates: None,
    };
    add_file(tree, at, &source)
}

/// A tree that is being copied into the layer.
struct TreeCopy<'a> {
    source: &'a TreeSource,
    origin: Rc<str>,
}

impl TreeCopy<'_> {
    fn directory(&self, tree: &mut Tree, from: &Path, to: &str) -> Result<()> {
        for entry in fs::read_dir(from).map_err(Error::io("list", from))? {
            let entry = entry.map_err(Error::io("list", from))?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|name| {
                let problem = format!("the file name {name:?} is not UTF-8");
                Error::spec(from.display().to_string(), problem, "rename the file")
            })?;
            check_component(&name).map_err(|problem| {
                let problem = format!("the file name {name:?} {problem}");
                Error::spec(from.display().to_string(), problem, "rename the file")
            })?;
            let slash = if to.is_empty() { "" } else { "/" };
            self.entry(tree, &path, format!("{to}{slash}{name}"))?;
        }
        Ok(())
    }

    fn entry(&self, tree: &mut Tree, from: &Path, to: String) -> Result<()> {
        let metadata = fs::symlink_metadata(from).map_err(Error::io("read", from))?;
        if metadata.is_dir() {
            tree.insert(to.clone(), self.node(Body::Directory, 0o755))?;
            return self.directory(tree, from, &to);
        }
        if metadata.is_symlink() {
            let target = self.link_target(from)?;
            return tree.insert(to, self.node(Body::Symlink(target), 0o777));
        }
        if !metadata.is_file() {
            return Err(Error::spec(
                from.display().to_string(),
                "is neither a file nor a directory nor a symbolic link",
                "leave it out of the tree",
            ));
        }
        let content = Content::File {
            path: from.to_owned(),
            length: metadata.len(),
        };
        let mode = self
            .source
            .mode
            .map_or(plain_mode(&metadata), |mode| mode.0);
        tree.insert(to, self.node(Body::File(content), mode))
    }

    /// Returns the target of a link. A link out of the tree by an absolute path of the build
    /// machine would dangle in the image.
    fn link_target(&self, from: &Path) -> Result<String> {
        let target = fs::read_link(from).map_err(Error::io("read", from))?;
        let outside = target.starts_with(&self.source.from) || target.starts_with("/nix/store");
        match target.to_str() {
            Some(target) if !outside => Ok(target.to_owned()),
            _ => Err(Error::spec(
                from.display().to_string(),
                format!(
                    "is a symbolic link to {}, which is not in the image",
                    target.display()
                ),
                "make it relative, or copy what it points to",
            )),
        }
    }

    fn node(&self, body: Body, mode: u32) -> Node {
        Node {
            body,
            mode,
            uid: self.source.uid,
            gid: self.source.gid,
            xattrs: BTreeMap::new(),
            origin: Rc::clone(&self.origin),
            standing: Standing::Copied,
            supersedes: false,
        }
    }
}

pub(super) fn add_text(tree: &mut Tree, at: &str, source: &TextSource) -> Result<()> {
    let to = file_path(&format!("{at}.to"), &source.to)?;
    let content = Content::Bytes(source.text.clone().into_bytes());
    let mode = source.mode.map_or(0o644, |mode| mode.0);
    let origin = format!("{at} (text)");
    let mut node = file_node(content, mode, source.uid, source.gid, &origin);
    node.xattrs = checked_xattrs(at, &source.xattrs)?;
    tree.insert(to, node)
}

pub(super) fn add_directory(tree: &mut Tree, at: &str, source: &DirectorySource) -> Result<()> {
    let to = file_path(&format!("{at}.to"), &source.to)?;
    let mode = source.mode.map_or(0o755, |mode| mode.0);
    let origin = format!("{at} (directory)");
    let node = declared(Body::Directory, mode, source.uid, source.gid, &origin);
    tree.insert(to, node)
}

pub(super) fn add_symlink(tree: &mut Tree, at: &str, source: &SymlinkSource) -> Result<()> {
    let to = file_path(&format!("{at}.to"), &source.to)?;
    if source.target.is_empty() || source.target.contains('\0') {
        return Err(Error::spec(
            format!("{at}.target"),
            format!("{:?} can't be the target of a link", source.target),
            "write a path",
        ));
    }
    let body = Body::Symlink(source.target.clone());
    tree.insert(to, declared(body, 0o777, 0, 0, &format!("{at} (symlink)")))
}

/// Makes a regular file that has a source of its own.
pub(super) fn file_node(content: Content, mode: u32, uid: u32, gid: u32, origin: &str) -> Node {
    declared(Body::File(content), mode, uid, gid, origin)
}

fn declared(body: Body, mode: u32, uid: u32, gid: u32, origin: &str) -> Node {
    Node {
        body,
        mode,
        uid,
        gid,
        xattrs: BTreeMap::new(),
        origin: origin.into(),
        standing: Standing::Declared,
        supersedes: false,
    }
}

/// Checks that a path names something below the root.
fn file_path(at: &str, path: &str) -> Result<String> {
    let relative = image_path(at, path)?;
    if relative.is_empty() {
        return Err(Error::spec(
            at,
            format!("{path:?} is the root directory"),
            "name something below it",
        ));
    }
    Ok(relative)
}

fn plain_mode(metadata: &fs::Metadata) -> u32 {
    if metadata.permissions().mode() & 0o111 == 0 {
        0o644
    } else {
        0o755
    }
}

/// Returns only the last component: the place of a file must not get into an output.
fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn checked_xattrs(at: &str, xattrs: &Attributes) -> Result<Attributes> {
    for (name, value) in xattrs {
        check_attribute(name, value).map_err(|problem| {
            let problem = format!("{name:?} {problem}");
            Error::spec(
                format!("{at}.xattrs"),
                problem,
                "drop it, or give it another name",
            )
        })?;
    }
    Ok(xattrs.clone())
}

/// Refuses attributes for a source that turns out to be a directory.
fn refuse_xattrs(at: &str, to: &str, xattrs: &Attributes) -> Result<()> {
    if xattrs.is_empty() {
        return Ok(());
    }
    Err(Error::spec(
        format!("{at}.xattrs"),
        format!("{to} is a directory, and capabilities and extended attributes are for one file"),
        "name the file that has them: in images.toml by `source`, or `from` of a part",
    ))
}
