//! Debian packages as sources: their files with merged `/usr`, and dpkg's database of them.
//!
//! Maintainer scripts do not run. The database is the one that dpkg itself would write at an
//! installation, so `dpkg -l`, `dpkg -S` and vulnerability scanners find the packages.

mod certificates;
mod checksum;
mod database;
mod filter;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crateyard_oci::tar;

use self::checksum::Md5Reader;
use self::database::Summary;
use self::filter::Filter;
use super::documents::Documents;
use super::spool::Spool;
use super::tree::{Body, Node, Standing, Tree, check_component};
use crate::deb::Deb;
use crate::spec::{DebianPackage, DebianSource, PackageDetails};
use crate::{Error, Result};

pub(super) use self::certificates::add as add_certificates;

/// The directories of the root that are links into `/usr`. The flag says whether to make the link
/// even if no package has files there.
const MERGED: [(&str, bool); 6] = [
    ("bin", true),
    ("sbin", true),
    ("lib", true),
    ("lib32", false),
    ("lib64", false),
    ("libx32", false),
];

/// Adds all Debian sources of a layer. Returns the packages in the layer and those installed below
/// it.
pub(super) fn add(
    tree: &mut Tree,
    sources: &[(String, &DebianSource)],
    spool: &mut Spool,
) -> Result<(Vec<PackageDetails>, Vec<DebianPackage>)> {
    let (packages, below) = open_all(sources)?;
    let mut status = BTreeMap::new();
    let mut in_layer = Vec::new();
    for chosen in packages.values() {
        let mut unpack = Unpack::new(chosen, spool);
        unpack.run(tree)?;
        let Unpack {
            summary, documents, ..
        } = unpack;
        in_layer.push(documents.details(&chosen.deb));
        database::add_info(tree, chosen, &summary)?;
        status.insert(
            chosen.deb.package().clone(),
            database::status_paragraph(&chosen.deb, &summary.digests),
        );
    }
    for deb in below.values() {
        let digests = database::conffile_digests(deb)?;
        status.insert(
            deb.package().clone(),
            database::status_paragraph(deb, &digests),
        );
    }
    add_merged_usr(tree)?;
    database::add_status(tree, &status)?;
    Ok((in_layer, below.into_keys().collect()))
}

/// A package that goes into the layer, with the patterns of its source.
struct Chosen {
    deb: Deb,
    filter: Rc<Filter>,
    origin: Rc<str>,
}

type Packages = BTreeMap<DebianPackage, Chosen>;
type Below = BTreeMap<DebianPackage, Deb>;

fn open_all(sources: &[(String, &DebianSource)]) -> Result<(Packages, Below)> {
    let mut packages = Packages::new();
    let mut below = Below::new();
    for (at, source) in sources {
        let filter = Rc::new(Filter::new(&format!("{at}.exclude"), &source.exclude)?);
        for path in unique(&source.packages) {
            let deb = Deb::open(path)?;
            let origin = deb.title().into();
            let chosen = Chosen {
                deb,
                filter: Rc::clone(&filter),
                origin,
            };
            let twice = packages.insert(chosen.deb.package().clone(), chosen);
            if let Some(twice) = twice {
                return Err(Error::spec(
                    format!("{at}.packages"),
                    format!("{} is given twice", twice.deb.title()),
                    "name each package once in a layer",
                ));
            }
        }
        for path in unique(&source.also_installed) {
            let deb = Deb::open(path)?;
            below.insert(deb.package().clone(), deb);
        }
    }
    below.retain(|package, _| !packages.contains_key(package));
    refuse_two_versions(packages.keys().chain(below.keys()))?;
    Ok((packages, below))
}

fn unique(paths: &[PathBuf]) -> BTreeSet<&Path> {
    paths.iter().map(PathBuf::as_path).collect()
}

fn refuse_two_versions<'a>(packages: impl Iterator<Item = &'a DebianPackage>) -> Result<()> {
    let mut versions = BTreeMap::new();
    for package in packages {
        let key = (&package.name, &package.arch);
        if let Some(other) = versions.insert(key, &package.version) {
            return Err(Error::spec(
                "debian",
                format!(
                    "the package {} has the versions {other} and {}",
                    package.name, package.version
                ),
                "an image has one version of a package: remove one",
            ));
        }
    }
    Ok(())
}

/// A package that is being added to the tree.
struct Unpack<'a> {
    chosen: &'a Chosen,
    spool: &'a mut Spool,
    conffiles: BTreeSet<String>,
    summary: Summary,
    documents: Documents,
    /// The files of this package by path, and the further names of each.
    files: BTreeMap<String, Node>,
    links: Vec<(String, String)>,
}

impl<'a> Unpack<'a> {
    fn new(chosen: &'a Chosen, spool: &'a mut Spool) -> Unpack<'a> {
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

    fn run(&mut self, tree: &mut Tree) -> Result<()> {
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
fn drain<R: Read>(data: tar::Reader<R>) -> io::Result<u64> {
    io::copy(&mut data.into_inner(), &mut io::sink())
}

/// Returns a package's path, such as `./usr/bin/ls`, without the dot. The root is empty. The path
/// may not lead out of the root.
fn package_path(path: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(path)
        .map_err(|_| format!("the path {:?} is not UTF-8", String::from_utf8_lossy(path)))?;
    let relative = text.strip_prefix('.').unwrap_or(text);
    let relative = relative.trim_start_matches('/').trim_end_matches('/');
    if relative.is_empty() {
        return Ok(String::new());
    }
    for component in relative.split('/') {
        check_component(component).map_err(|problem| format!("the path {text:?} {problem}"))?;
    }
    Ok(relative.to_owned())
}

/// Returns the place of a path once `/bin`, `/lib` and the like are links into `/usr`.
fn merged(path: &str, directory: bool) -> String {
    let first = path.split('/').next().unwrap_or(path);
    let below = path.len() > first.len();
    if (below || directory) && MERGED.iter().any(|(name, _)| *name == first) {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

fn add_merged_usr(tree: &mut Tree) -> Result<()> {
    for (name, always) in MERGED {
        let target = format!("usr/{name}");
        let used = tree.nodes().contains_key(&target)
            || tree
                .nodes()
                .range(format!("{target}/")..)
                .next()
                .is_some_and(|(path, _)| path.starts_with(&format!("{target}/")));
        if !always && !used {
            continue;
        }
        if !used {
            tree.insert(target.clone(), generated(Body::Directory, 0o755))?;
        }
        tree.insert(name.to_owned(), generated(Body::Symlink(target), 0o777))?;
    }
    Ok(())
}

fn generated(body: Body, mode: u32) -> Node {
    Node {
        body,
        mode,
        uid: 0,
        gid: 0,
        xattrs: BTreeMap::new(),
        origin: "merged /usr".into(),
        standing: Standing::Packaged,
        supersedes: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_packages_stay_inside_and_merge() {
        assert_eq!(package_path(b"./usr/bin/ls").unwrap(), "usr/bin/ls");
        assert_eq!(package_path(b"./").unwrap(), "");
        for bad in [
            &b"./../etc/passwd"[..],
            b"./usr//bin",
            b"./a/./b",
            b"\xff",
            b"./etc/.wh.x",
        ] {
            assert!(package_path(bad).is_err(), "{bad:?}");
        }
        assert_eq!(merged("bin/ls", false), "usr/bin/ls");
        assert_eq!(merged("lib64", true), "usr/lib64");
        assert_eq!(merged("bin", false), "bin");
        assert_eq!(merged("library/x", false), "library/x");
    }
}
