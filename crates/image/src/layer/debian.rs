//! Debian packages as sources: their files with merged `/usr`, and dpkg's database of them.
//!
//! Maintainer scripts do not run. The database is the one that dpkg itself would write at an
//! installation, so `dpkg -l`, `dpkg -S` and vulnerability scanners find the packages.

mod certificates;
mod checksum;
mod database;
mod filter;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use self::filter::Filter;
use self::unpack::Unpack;
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
