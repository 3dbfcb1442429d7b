//! Checks across the layers of an image: no file replaces another unless it is meant to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Base, Layer};
use crate::files::{self, Listing};
use crate::oci::media_type;
use crate::packages;
use crate::spec::{DebianPackage, EntryKind, EntryRecord};
use crate::{Error, Result};

/// What the layers so far hold at a path.
struct Below {
    kind: EntryKind,
    attributes: (u32, u32, u32),
    target: Option<String>,
    from: String,
}

pub(super) fn layers(base: Option<&Base>, layers: &[Layer]) -> Result<()> {
    let (mut below, mut installed) = match base {
        Some(base) => from_base(base)?,
        None => Default::default(),
    };
    for layer in layers {
        check_media_type(layer)?;
        check_status(layer, &installed)?;
        for entry in &layer.entries.entries {
            check_entry(layer, entry, &below)?;
        }
        for entry in &layer.entries.entries {
            below.insert(entry.path.clone(), seen(layer, entry));
        }
        installed.extend(layer.record.debian_packages.iter().cloned());
    }
    Ok(())
}

type Paths = BTreeMap<String, Below>;

fn from_base(base: &Base) -> Result<(Paths, BTreeSet<DebianPackage>)> {
    let listing = Listing::read(&base.layout, &base.manifest, &files::Options::default())?;
    let installed = packages::installed(&listing)?.into_iter().collect();
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
        layer.directory.display().to_string(),
        format!(
            "{:?} is not the media type of a layer",
            layer.record.media_type
        ),
    ))
}

/// A status file takes the place of that below: what it does not list is no longer found.
fn check_status(layer: &Layer, installed: &BTreeSet<DebianPackage>) -> Result<()> {
    let record = &layer.record;
    if record.debian_packages.is_empty() || layer.may_override {
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

fn check_entry(layer: &Layer, entry: &EntryRecord, below: &Paths) -> Result<()> {
    let Some(lower) = below.get(&entry.path) else {
        return Ok(());
    };
    if layer.may_override || entry.supersedes {
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
            remedy: ", or let the upper layer override (mayOverride)".to_owned(),
        }),
    }
}

/// A directory that is only there because of what is in it must not change mode or owner.
fn check_directory(layer: &Layer, entry: &EntryRecord, lower: &Below) -> Result<()> {
    let (mode, uid, gid) = lower.attributes;
    if !entry.implied || lower.attributes == (entry.mode.0, entry.uid, entry.gid) {
        return Ok(());
    }
    Err(Error::spec(
        layer.title(),
        format!(
            "{} puts a file into /{}, which would change it from mode {mode:04o} and owner {uid}:{gid} of {} to {} and {}:{}",
            entry.origin, entry.path, lower.from, entry.mode, entry.uid, entry.gid
        ),
        "add a source of kind \"directory\" for it to this layer, with the mode and owner it should have",
    ))
}
