//! Debian packages as sources: their files with merged `/usr`, and dpkg's database of them.
//!
//! Maintainer scripts do not run. The database is the one that dpkg itself would write at an
//! installation, so `dpkg -l`, `dpkg -S` and vulnerability scanners find the packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crateyard_oci::{digest::hex, tar};
use md5::Digest as _;

use super::documents::Documents;
use super::plain::file_node;
use super::spool::Spool;
use super::tree::{Body, Content, Node, Standing, Tree, check_component, image_path};
use crate::deb::{Deb, field};
use crate::spec::{CaCertificatesSource, DebianPackage, DebianSource, PackageDetails};
use crate::{Error, Result};

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
const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";
const CERTIFICATES: &str = "usr/share/ca-certificates/";
/// The largest bundle of certificates. A usual one has some 200 KB.
const CERTIFICATES_LIMIT: usize = 64 << 20;

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
        add_info(tree, chosen, &summary)?;
        status.insert(
            chosen.deb.package().clone(),
            status_paragraph(&chosen.deb, &summary.digests),
        );
    }
    for deb in below.values() {
        let digests = conffile_digests(deb)?;
        status.insert(deb.package().clone(), status_paragraph(deb, &digests));
    }
    add_merged_usr(tree)?;
    let text = status
        .values()
        .fold(String::new(), |all, one| all + one + "\n");
    data_base_file(tree, STATUS, text.into_bytes(), "dpkg's status")?;
    // The presence of this file tells dpkg that files of its database may have an architecture in
    // their name.
    data_base_file(
        tree,
        &format!("{INFO}/format"),
        b"1\n".to_vec(),
        "dpkg's format marker",
    )?;
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

/// The facts about one package that the database needs.
#[derive(Default)]
struct Summary {
    /// The package's paths in their original form, for `NAME.list`.
    list: Vec<String>,
    /// The MD5 digests of the configuration files.
    digests: BTreeMap<String, String>,
    /// The content of `NAME.md5sums` if the package has none. dpkg makes it then, too.
    md5sums: Option<String>,
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
            conffiles: conffiles(&chosen.deb),
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
            "cannot write a temporary file in",
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

/// Adds a file of this layer's database that replaces a lower layer's.
fn data_base_file(tree: &mut Tree, path: &str, bytes: Vec<u8>, origin: &str) -> Result<()> {
    let mut node = file_node(Content::Bytes(bytes), 0o644, 0, 0, origin);
    node.supersedes = true;
    tree.insert(path.to_owned(), node)
}

/// Adds the package's files in `/var/lib/dpkg/info`: the list of its paths and its control files.
fn add_info(tree: &mut Tree, chosen: &Chosen, summary: &Summary) -> Result<()> {
    let info = chosen.deb.info_name();
    let mut put = |extension: &str, bytes: Vec<u8>, mode| {
        let path = format!("{INFO}/{info}.{extension}");
        if chosen.filter.excludes(&path) {
            return Ok(());
        }
        let node = file_node(Content::Bytes(bytes), mode, 0, 0, &chosen.origin);
        tree.insert(path, node)
    };
    let lines = summary.list.iter().flat_map(|path| [path, "\n"]);
    put("list", lines.collect::<String>().into_bytes(), 0o644)?;
    if let Some(md5sums) = &summary.md5sums {
        put("md5sums", md5sums.clone().into_bytes(), 0o644)?;
    }
    for (name, bytes) in chosen.deb.control_files() {
        let script = matches!(
            name.as_str(),
            "preinst" | "postinst" | "prerm" | "postrm" | "config"
        );
        if name != "control" {
            put(name, bytes.clone(), if script { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

/// Writes the package's paragraph in dpkg's status file.
fn status_paragraph(deb: &Deb, digests: &BTreeMap<String, String>) -> String {
    let mut paragraph = String::new();
    for line in deb.control().trim_end().lines() {
        paragraph.push_str(line);
        paragraph.push('\n');
        if field(line, "Package").is_some() && !line.starts_with([' ', '\t']) {
            paragraph.push_str("Status: install ok installed\n");
        }
    }
    if !digests.is_empty() {
        paragraph.push_str("Conffiles:\n");
        for (path, digest) in digests {
            // Writing to a string can't fail.
            let _ = writeln!(paragraph, " /{path} {digest}");
        }
    }
    paragraph
}

/// Returns the configuration files that the package names, without leading slash.
fn conffiles(deb: &Deb) -> BTreeSet<String> {
    let file = deb.control_file("conffiles").unwrap_or_default();
    String::from_utf8_lossy(file)
        .lines()
        .filter_map(|line| line.trim().strip_prefix('/').map(str::to_owned))
        .collect()
}

/// Returns the MD5 digests of the configuration files of a package whose files are not needed.
fn conffile_digests(deb: &Deb) -> Result<BTreeMap<String, String>> {
    let conffiles = conffiles(deb);
    let mut digests = BTreeMap::new();
    if conffiles.is_empty() {
        return Ok(digests);
    }
    let damaged = |problem: String| Error::damaged(deb.path().display().to_string(), problem);
    let mut data = deb.data()?;
    while let Some(entry) = data
        .next_entry()
        .map_err(|error| damaged(error.to_string()))?
    {
        let path = package_path(&entry.path).map_err(damaged)?;
        if entry.kind == tar::Kind::File && conffiles.contains(&path) {
            let mut md5 = Md5Reader::new(&mut data, true);
            io::copy(&mut md5, &mut io::sink()).map_err(|error| damaged(error.to_string()))?;
            digests.insert(path, md5.finish());
        }
    }
    Ok(digests)
}

/// A reader that computes the MD5 digest of its bytes, if the digest is wanted. dpkg has no other
/// digest.
struct Md5Reader<'a> {
    inner: &'a mut dyn Read,
    state: Option<md5::Md5>,
}

impl<'a> Md5Reader<'a> {
    fn new(inner: &'a mut dyn Read, wanted: bool) -> Md5Reader<'a> {
        Md5Reader {
            inner,
            state: wanted.then(md5::Md5::new),
        }
    }

    fn finish(self) -> String {
        self.state
            .map_or(String::new(), |state| hex(&state.finalize()))
    }
}

impl Read for Md5Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(state) = &mut self.state {
            state.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// The patterns of the paths to leave out.
struct Filter(Vec<(glob::Pattern, bool)>);

const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

impl Filter {
    fn new(at: &str, patterns: &[String]) -> Result<Filter> {
        let compile = |(number, text): (usize, &String)| {
            let (keep, pattern) = match text.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, text.as_str()),
            };
            let pattern = pattern.trim_start_matches('/').trim_end_matches('/');
            let pattern = glob::Pattern::new(pattern).map_err(|error| {
                let problem = format!("{text:?} is not a pattern: {error}");
                Error::spec(format!("{at}[{number}]"), problem, "use *, ?, [a-z] and **")
            })?;
            Ok((pattern, keep))
        };
        let patterns = patterns.iter().enumerate().map(compile);
        Ok(Filter(patterns.collect::<Result<_>>()?))
    }

    /// Whether the last pattern that matches the path or one of its parents excludes it.
    fn excludes(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        let names: Vec<&str> = parents.chain([path]).collect();
        let matches = |pattern: &glob::Pattern| {
            names
                .iter()
                .any(|name| pattern.matches_with(name, MATCHING))
        };
        let decisive = self.0.iter().rev().find(|(pattern, _)| matches(pattern));
        decisive.is_some_and(|(_, keep)| !keep)
    }
}

/// Adds the bundle of all certificates of some packages, in the order of their paths.
pub(super) fn add_certificates(
    tree: &mut Tree,
    at: &str,
    source: &CaCertificatesSource,
) -> Result<()> {
    let to = image_path(&format!("{at}.to"), &source.to)?;
    let mut certificates = BTreeMap::new();
    for path in unique(&source.packages) {
        let deb = Deb::open(path)?;
        read_certificates(&deb, &mut certificates)?;
    }
    if certificates.is_empty() {
        return Err(Error::spec(
            format!("{at}.packages"),
            format!("no package holds a file /{CERTIFICATES}**/*.crt"),
            "name the package ca-certificates",
        ));
    }
    let mut bundle = Vec::new();
    for certificate in certificates.values() {
        bundle.extend_from_slice(certificate);
        if !certificate.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    let origin = format!("{at} (bundle of certificates)");
    tree.insert(to, file_node(Content::Bytes(bundle), 0o644, 0, 0, &origin))
}

fn read_certificates(deb: &Deb, certificates: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let damaged = |problem: String| Error::damaged(deb.path().display().to_string(), problem);
    let mut data = deb.data()?;
    let mut total = 0;
    while let Some(entry) = data
        .next_entry()
        .map_err(|error| damaged(error.to_string()))?
    {
        let path = package_path(&entry.path).map_err(damaged)?;
        let wanted = path.starts_with(CERTIFICATES) && path.ends_with(".crt");
        if entry.kind != tar::Kind::File || !wanted {
            continue;
        }
        let limit = (CERTIFICATES_LIMIT - total) as u64;
        if entry.size > limit {
            return Err(damaged("its certificates are too large".to_owned()));
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)
            .map_err(|error| damaged(error.to_string()))?;
        total += bytes.len();
        certificates.insert(path, bytes);
    }
    drain(data)
        .map(drop)
        .map_err(|error| damaged(error.to_string()))
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

    #[test]
    fn the_last_matching_pattern_decides() {
        let patterns = [
            "/usr/share/doc",
            "!usr/share/doc/*/copyright",
            "usr/share/man/**",
            "**/*.pyc",
        ];
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let filter = Filter::new("exclude", &patterns).unwrap();
        assert!(filter.excludes("usr/share/doc"));
        assert!(filter.excludes("usr/share/doc/a/changelog.gz"));
        assert!(!filter.excludes("usr/share/doc/a/copyright"));
        assert!(filter.excludes("usr/share/man/man1/a.1"));
        assert!(!filter.excludes("usr/share/man"));
        assert!(filter.excludes("a/b/c.pyc"));
        assert!(!filter.excludes("usr/bin/ls"));
        assert!(Filter::new("exclude", &["a**b".to_owned()]).is_err());
    }
}
