//! Checks across the layers of an image: no file may replace another unless the description allows
//! it.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::media_type;

use super::{Base, Layer};
use crate::files::{self, Listing, MAX_LINKS};
use crate::packages;
use crate::spec::{DebianPackage, EntryKind, EntryRecord};
use crate::{Error, Result};

/// The entry at a path in the layers so far.
struct Below {
    kind: EntryKind,
    attributes: (u32, u32, u32),
    target: Option<String>,
    from: String,
}

/// All paths of an image's layers.
pub(super) struct Paths(BTreeMap<String, Below>);

/// Checks the layers against each other and returns their paths.
pub(super) fn layers<'a>(
    base: Option<&Base>,
    layers: impl IntoIterator<Item = &'a Layer>,
) -> Result<Paths> {
    let (mut below, mut installed) = match base {
        Some(base) => from_base(&base.listing)?,
        None => Default::default(),
    };
    for layer in layers {
        check_media_type(layer)?;
        check_status(layer, &installed)?;
        for entry in &layer.entries.entries {
            check_entry(layer, entry, &below)?;
        }
        check_replaced(layer, &below)?;
        for entry in &layer.entries.entries {
            apply(&mut below, layer, entry);
        }
        installed.extend(layer.record.debian_packages.iter().cloned());
    }
    Ok(Paths(below))
}

impl Paths {
    /// Checks that a program named by an absolute path is in the image and executable. The
    /// container looks for other programs in `PATH` when it runs.
    pub(super) fn check_program(&self, at: &str, program: &str) -> Result<()> {
        if !program.starts_with('/') {
            return Ok(());
        }
        let wrong = |problem: String| {
            let remedy = "name a program that a layer holds, by its path in the image";
            Error::spec(at, problem, remedy)
        };
        match self.resolve(program) {
            Some(found)
                if found.kind == EntryKind::Directory || found.attributes.0 & 0o111 == 0 =>
            {
                let problem = format!("{program} of {} is not executable", found.from);
                Err(wrong(problem))
            }
            Some(_) => Ok(()),
            None => Err(wrong(format!("{program} is in no layer of the image"))),
        }
    }

    /// Checks that the image has the libraries which a layer's programs are linked to.
    pub(super) fn check_libraries(&self, layer: &Layer) -> Result<()> {
        match self.missing_libraries(layer).next() {
            None => Ok(()),
            Some((program, library)) => {
                let problem = format!("/{program} is linked to {library}, which is in no layer");
                Err(Error::spec(layer.title(), problem, remedy(library)))
            }
        }
    }

    /// Returns the missing libraries of a layer's programs, each after the program's path. The
    /// image decides where its loader looks, so a file of the right name in any directory will do.
    pub(super) fn missing_libraries<'a>(
        &'a self,
        layer: &'a Layer,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let linked = layer.entries.entries.iter().flat_map(|entry| {
            let libraries = entry.libraries.iter();
            libraries.map(|library| (entry.path.as_str(), library.as_str()))
        });
        linked.filter(|(_, library)| {
            let suffix = format!("/{library}");
            !self.0.keys().any(|path| path.ends_with(&suffix))
        })
    }

    /// Returns the entry at a path after following links.
    fn resolve(&self, path: &str) -> Option<&Below> {
        let mut rest: Vec<String> = reversed_components(path);
        let mut so_far: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(component) = rest.pop() {
            if component == ".." {
                so_far.pop();
                continue;
            }
            so_far.push(component);
            let below = self.0.get(&so_far.join("/"));
            let target = below
                .filter(|below| below.kind == EntryKind::Symlink)
                .and_then(|below| below.target.as_deref());
            let Some(target) = target else { continue };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            so_far.pop();
            if target.starts_with('/') {
                so_far.clear();
            }
            rest.extend(reversed_components(target));
        }
        self.0.get(&so_far.join("/"))
    }
}

/// Suggests a package by Debian's rule for the names of library packages: the library's name and
/// version. <https://www.debian.org/doc/debian-policy/ch-sharedlibs.html#run-time-shared-libraries>
fn remedy(library: &str) -> String {
    let general =
        "add the Debian package that has it to the image's packages and run `assemble lock`";
    let Some((name, version)) = library.split_once(".so.") else {
        return general.to_owned();
    };
    let dash = if name.ends_with(|c: char| c.is_ascii_digit()) {
        "-"
    } else {
        ""
    };
    let package = format!("{name}{dash}{version}")
        .to_lowercase()
        .replace('_', "-");
    format!("{general}; by Debian's rule it is called {package}")
}

fn reversed_components(path: &str) -> Vec<String> {
    let components = path.split('/');
    let named = components.filter(|part| !part.is_empty() && *part != ".");
    named.rev().map(str::to_owned).collect()
}

type Lower = BTreeMap<String, Below>;

fn from_base(listing: &Listing) -> Result<(Lower, BTreeSet<DebianPackage>)> {
    let installed = packages::installed(listing)?.into_iter().collect();
    let paths = listing.files().map(|(path, file)| {
        let kind = match file.kind {
            files::FileKind::Directory => EntryKind::Directory,
            files::FileKind::Symlink => EntryKind::Symlink,
            _ => EntryKind::File,
        };
        let below = Below {
            kind,
            attributes: (file.mode, file.uid as u32, file.gid as u32),
            target: file.target.clone(),
            from: "the base image".to_owned(),
        };
        (path.to_owned(), below)
    });
    Ok((paths.collect(), installed))
}

/// Puts an entry over the lower entries. An entry that is not a directory removes everything below
/// its path.
fn apply(below: &mut Lower, layer: &Layer, entry: &EntryRecord) {
    if entry.kind != EntryKind::Directory {
        let prefix = format!("{}/", entry.path);
        let gone: Vec<String> = below
            .range(prefix.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&prefix))
            .cloned()
            .collect();
        for path in gone {
            below.remove(&path);
        }
    }
    match entry.kind {
        EntryKind::Whiteout => drop(below.remove(&entry.path)),
        _ => drop(below.insert(entry.path.clone(), seen(layer, entry))),
    }
}

fn seen(layer: &Layer, entry: &EntryRecord) -> Below {
    Below {
        kind: entry.kind,
        attributes: (entry.mode.0, entry.uid, entry.gid),
        target: entry.target.clone(),
        from: format!("{} of {}", entry.origin, layer.title()),
    }
}

fn check_media_type(layer: &Layer) -> Result<()> {
    if media_type::is_layer(&layer.record.media_type) {
        return Ok(());
    }
    Err(Error::damaged(
        layer.reference.path.display().to_string(),
        format!(
            "{:?} is not the media type of a layer",
            layer.record.media_type
        ),
    ))
}

/// Checks that a layer's status file lists all packages of the layers below: it replaces theirs,
/// and nothing finds a package that it does not list.
fn check_status(layer: &Layer, installed: &BTreeSet<DebianPackage>) -> Result<()> {
    let record = &layer.record;
    if record.debian_packages.is_empty() || layer.reference.may_override {
        return Ok(());
    }
    let listed: BTreeSet<_> = record
        .debian_packages
        .iter()
        .chain(&record.also_installed)
        .collect();
    match installed.iter().find(|package| !listed.contains(package)) {
        None => Ok(()),
        Some(lost) => Err(Error::spec(
            layer.title(),
            format!(
                "its dpkg status does not list {} {}, which a layer below it holds",
                lost.name, lost.version
            ),
            "give all packages of the layers below in alsoInstalled",
        )),
    }
}

/// Whether a file may replace a lower one because the layer says so. A directory is never replaced:
/// its contents would vanish.
fn is_replaced(layer: &Layer, entry: &EntryRecord, lower: &Below) -> bool {
    let mut replaces = layer.reference.replaces.iter();
    let is_said = replaces.any(|path| is_at(&entry.path, path));
    is_said && entry.kind != EntryKind::Directory && lower.kind != EntryKind::Directory
}

/// Whether a path of a layer is the absolute path `said` or lies below it.
fn is_at(path: &str, said: &str) -> bool {
    let rest = path.strip_prefix(said.trim_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks that a lower layer has each path in a layer's list of replaced paths. A superfluous path
/// would let a file of the next base be replaced unnoticed.
fn check_replaced(layer: &Layer, below: &Lower) -> Result<()> {
    for said in &layer.reference.replaces {
        let mut entries = layer.entries.entries.iter();
        let replaces = |entry: &EntryRecord| {
            let lower = below.get(&entry.path);
            is_at(&entry.path, said) && lower.is_some_and(|it| is_replaced(layer, entry, it))
        };
        if !entries.any(replaces) {
            return Err(Error::spec(
                layer.title(),
                format!("{said} replaces nothing: no layer below has a file there"),
                "drop `replace = true` in images.toml, `replaces` of the layer",
            ));
        }
    }
    Ok(())
}

fn check_entry(layer: &Layer, entry: &EntryRecord, below: &Lower) -> Result<()> {
    let Some(lower) = below.get(&entry.path) else {
        return Ok(());
    };
    if layer.reference.may_override || entry.supersedes || is_replaced(layer, entry, lower) {
        return Ok(());
    }
    match (lower.kind, entry.kind) {
        (EntryKind::Directory, EntryKind::Directory) => check_directory(layer, entry, lower),
        (EntryKind::Symlink, EntryKind::Symlink) if lower.target == entry.target => Ok(()),
        (EntryKind::Symlink, EntryKind::Directory) => Err(Error::spec(
            layer.title(),
            format!(
                "{} makes /{} a directory where {} has a symbolic link to {}",
                entry.origin,
                entry.path,
                lower.from,
                lower.target.as_deref().unwrap_or("somewhere"),
            ),
            "give the path as it is without the link",
        )),
        _ => Err(Error::Conflict {
            path: entry.path.clone(),
            first: lower.from.clone(),
            second: format!("{} of {}", entry.origin, layer.title()),
            remedy:
                ", or say that it is meant: `replace = true` in images.toml, `replaces` of the \
                 layer"
                    .to_owned(),
        }),
    }
}

/// Checks that a directory which is only there for its contents keeps its mode and owner.
fn check_directory(layer: &Layer, entry: &EntryRecord, lower: &Below) -> Result<()> {
    let (mode, uid, gid) = lower.attributes;
    if !entry.implied || lower.attributes == (entry.mode.0, entry.uid, entry.gid) {
        return Ok(());
    }
    Err(Error::spec(
        layer.title(),
        format!(
            "{} puts a file into /{}, which would change it from mode {mode:04o} and owner \
             {uid}:{gid} of {} to {} and {}:{}",
            entry.origin, entry.path, lower.from, entry.mode, entry.uid, entry.gid
        ),
        "add a source of kind \"directory\" for it to this layer, with the mode and owner it \
         should have",
    ))
}
