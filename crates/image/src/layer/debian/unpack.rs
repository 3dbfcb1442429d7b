//! Adds one package to the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::rc::Rc;

use crateyard_oci::tar;

use super::checksum::Md5Reader;
use super::database::{self, Summary};
use super::{Chosen, merged, package_path};
use crate::layer::documents::Documents;
use crate::layer::spool::Spool;
use crate::layer::tree::{Body, Node, Standing, Tree};
use crate::{Error, Result};

/// A package that is being added to the tree.
pub(super) struct Unpack<'a> {
    chosen: &'a Chosen,
    spool: &'a mut Spool,
    conffiles: BTreeSet<String>,
    pub(super) summary: Summary,
    pub(super) documents: Documents,
    /// The files of this package by path, and the further names of each.
    files: BTreeMap<String, Node>,
    links: Vec<(String, String)>,
}

impl<'a> Unpack<'a> {
    pub(super) fn new(chosen: &'a Chosen, spool: &'a mut Spool) -> Unpack<'a> {
        Unpack {
            chosen,
            spool,
            conffiles: database::conffiles(&chosen.deb),
            summary: Summary {
                md5sums: match chosen.deb.control_file("md5sums") {
                    Some(_) => None,
                    None => Some(String::new()),
                },
                ..Summary::default()
            },
            documents: Documents::new(chosen.deb.package()),
            files: BTreeMap::new(),
            links: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, tree: &mut Tree) -> Result<()> {
        let mut data = self.chosen.deb.data()?;
        while let Some(entry) = data.next_entry().map_err(|error| self.damaged(error))? {
            self.entry(tree, &entry, &mut data)?;
        }
        drain(data).map_err(|error| self.damaged(error))?;
        self.place_files(tree)
    }

    fn entry(&mut self, tree: &mut Tree, entry: &tar::Entry, content: &mut dyn Read) -> Result<()> {
        let listed = package_path(&entry.path).map_err(|problem| self.damaged(problem))?;
        let dotted = if listed.is_empty() { "." } else { &listed };
        self.summary.list.push(format!("/{dotted}"));
        if listed.is_empty() {
            return Ok(());
        }
        let path = merged(&listed, entry.kind == tar::Kind::Directory);
        let excluded = self.chosen.filter.excludes(&path);
        if entry.kind == tar::Kind::Symlink {
            self.documents.link(&listed, &entry.link);
        }
        match entry.kind {
            tar::Kind::Directory if !excluded => {
                tree.insert(path, self.node(entry, Body::Directory)?)
            }
            tar::Kind::Symlink if !excluded => {
                let target = String::from_utf8(entry.link.clone())
                    .map_err(|_| self.damaged("a link's target is not UTF-8"))?;
                tree.insert(path, self.node(entry, Body::Symlink(target))?)
            }
            tar::Kind::HardLink if !excluded => {
                let target = package_path(&entry.link).map_err(|problem| self.damaged(problem))?;
                self.links.push((path, merged(&target, false)));
                Ok(())
            }
            tar::Kind::File => self.file(&listed, path, excluded, entry, content),
            tar::Kind::Directory | tar::Kind::Symlink | tar::Kind::HardLink => Ok(()),
            _ => Err(self.damaged(format!("/{listed} is a device or pipe"))),
        }
    }

    fn file(
        &mut self,
        listed: &str,
        path: String,
        excluded: bool,
        entry: &tar::Entry,
        content: &mut dyn Read,
    ) -> Result<()> {
        let conffile = self.conffiles.contains(listed);
        let content = &mut self
            .documents
            .watch(listed, content)
            .map_err(|error| self.damaged(error))?;
        let mut md5 = Md5Reader::new(content, conffile || self.summary.md5sums.is_some());
        let copied = if excluded {
            // The database needs the digests of excluded files, too.
            io::copy(&mut md5, &mut io::sink()).map_err(|error| self.damaged(error))?;
            None
        } else {
            let what = format!("{}: /{listed}", self.chosen.deb.path().display());
            Some(self.spool.add(|out| copy(&mut md5, out, &what))?)
        };
        let digest = md5.finish();
        if conffile {
            self.summary.digests.insert(listed.to_owned(), digest);
        } else if let Some(md5sums) = &mut self.summary.md5sums {
            // Writing to a string can't fail.
            let _ = writeln!(md5sums, "{digest}  {listed}");
        }
        if let Some(content) = copied {
            let node = self.node(entry, Body::File(content))?;
            if self.files.insert(path.clone(), node).is_some() {
                return Err(self.damaged(format!("/{path} is in it twice")));
            }
        }
        Ok(())
    }

    /// Puts the files into the tree. Of a file's several names, the first in order is the file and
    /// the others are links to it, because links must come later in a layer.
    fn place_files(&mut self, tree: &mut Tree) -> Result<()> {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, target) in std::mem::take(&mut self.links) {
            if !self.files.contains_key(&target) {
                return Err(self.damaged(format!(
                    "/{path} is a hard link to /{target}, which is not in it or excluded; exclude \
                     both or none"
                )));
            }
            names.entry(target).or_default().insert(path);
        }
        for (path, node) in std::mem::take(&mut self.files) {
            let mut all = names.remove(&path).unwrap_or_default();
            all.insert(path);
            let mut all = all.into_iter();
            let Some(first) = all.next() else { continue };
            for link in all {
                let body = Body::HardLink(first.clone());
                tree.insert(
                    link,
                    Node {
                        body,
                        ..node.clone()
                    },
                )?;
            }
            tree.insert(first, node)?;
        }
        Ok(())
    }

    fn node(&self, entry: &tar::Entry, body: Body) -> Result<Node> {
        let number = |id: u64| {
            u32::try_from(id).map_err(|_| self.damaged(format!("{id} is not a user or group")))
        };
        Ok(Node {
            body,
            mode: entry.mode,
            uid: number(entry.uid)?,
            gid: number(entry.gid)?,
            xattrs: entry.xattrs.clone(),
            origin: Rc::clone(&self.chosen.origin),
            standing: Standing::Packaged,
            supersedes: false,
        })
    }

    fn damaged(&self, problem: impl ToString) -> Error {
        Error::damaged(
            self.chosen.deb.path().display().to_string(),
            problem.to_string(),
        )
    }
}

/// Copies to the spool. Tells a damaged package from a full disk.
fn copy(content: &mut dyn Read, out: &mut dyn Write, what: &str) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = content
            .read(&mut buffer)
            .map_err(|error| Error::damaged(what, error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read]).map_err(Error::io(
            "write a temporary file in",
            &std::env::temp_dir(),
        ))?;
    }
}

/// Reads the bytes behind the last entry, so that the checksums at the end of the compressed stream
/// are checked.
pub(super) fn drain<R: Read>(data: tar::Reader<R>) -> io::Result<u64> {
    io::copy(&mut data.into_inner(), &mut io::sink())
}
