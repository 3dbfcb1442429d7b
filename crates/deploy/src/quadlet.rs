//! The services that podman's systemd generator makes of Quadlet units, and the files that they
//! share.
//! <https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html>

mod drop_in;
mod names;

use std::collections::{BTreeMap, BTreeSet};

pub use drop_in::{is_directory as is_drop_in_directory, is_drop_in};
pub use names::is_unit;
use names::{kind_of, service_of};

/// A file and its text. The name is relative to the directory of units: `app.container`,
/// `app.container.d/10.conf`.
pub type File<'a> = (&'a str, &'a str);

/// The files of a directory of units. Each unit counts with its drop-ins.
pub struct Files {
    /// The units in the order of the files, with the texts of their drop-ins behind their own.
    units: Vec<(String, String)>,
}

impl Files {
    /// Puts drop-ins to the units that they are for. Passes over other files, such as the YAML that
    /// a `.kube` unit plays.
    pub fn new(files: &[File<'_>]) -> Files {
        let drop_ins: BTreeMap<&str, &str> = files
            .iter()
            .filter(|(name, _)| is_drop_in(name))
            .copied()
            .collect();
        let units = files.iter().filter(|(name, _)| is_unit(name));
        let units = units.map(|(name, text)| {
            let mut merged = (*text).to_owned();
            for (_, more) in drop_in::of(name, &drop_ins) {
                merged.push('\n');
                merged += more;
            }
            ((*name).to_owned(), merged)
        });
        Files {
            units: units.collect(),
        }
    }

    /// Returns the service that the generator makes from a unit, as `systemctl` takes it, or `None`
    /// for a file that is not a unit. A template has the pattern of its running instances.
    pub fn service(&self, name: &str) -> Option<String> {
        let unit = self.units.iter().find(|(unit, _)| unit == name)?;
        service_of(&unit.0, last(&unit.1, "ServiceName"))
    }

    /// Returns the services to restart if a file has changed: those of the units that it is part
    /// of, then those of the units that read these.
    pub fn services(&self, changed: &str) -> Vec<String> {
        let own = || self.units.iter().filter(|(name, _)| is_part(changed, name));
        let reads_one =
            |text: &str| reads(text, changed) || own().any(|(name, _)| reads(text, name));
        let readers = self.units.iter();
        let readers = readers.filter(|(name, text)| !is_part(changed, name) && reads_one(text));
        own()
            .chain(readers)
            .filter_map(|(name, _)| self.service(name))
            .collect()
    }

    /// Returns the networks and volumes of the units that a file is part of. Podman makes them
    /// once: a changed unit does not change one that is there.
    pub fn lasting(&self, file: &str) -> Vec<Lasting> {
        let units = self.units.iter();
        let units = units.filter(|(name, _)| is_part(file, name));
        units
            .filter_map(|(name, text)| Lasting::of(name, text))
            .collect()
    }

    /// Returns the networks and volumes of all units.
    pub fn all_lasting(&self) -> BTreeSet<Lasting> {
        let units = self.units.iter();
        units
            .filter_map(|(name, text)| Lasting::of(name, text))
            .collect()
    }
}

/// Whether a file is a unit or one of its drop-ins.
fn is_part(file: &str, unit: &str) -> bool {
    file == unit || drop_in::is_for(file, unit)
}

/// A network or a volume, which stays when its service stops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lasting {
    /// `network` or `volume`, as podman's subcommands are called.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

impl Lasting {
    fn of(unit: &str, text: &str) -> Option<Lasting> {
        let (stem, ending) = unit.rsplit_once('.')?;
        let (kind, key) = match ending {
            "network" => ("network", "NetworkName"),
            "volume" => ("volume", "VolumeName"),
            _ => return None,
        };
        let is_deleted = last(text, "NetworkDeleteOnStop");
        let is_deleted = is_deleted.is_some_and(|it| TRUE.contains(&&*it.to_lowercase()));
        if kind == "network" && is_deleted {
            return None;
        }
        let name = last(text, key).map_or_else(|| format!("systemd-{stem}"), str::to_owned);
        Some(Lasting { kind, name })
    }
}

/// The words for truth in units, in lower case.
const TRUE: [&str; 4] = ["1", "yes", "true", "on"];

/// Whether a unit names a file: another unit that it uses, or Kubernetes YAML that it plays.
pub fn reads(unit: &str, file: &str) -> bool {
    let is = |value: &str| value.strip_prefix("./").unwrap_or(value) == file;
    // `NAME:OPTIONS`
    let before_options = |value: &str| is(value.split(':').next().unwrap_or(value));
    match kind_of(file) {
        Some("image" | "build") => last(unit, "Image").is_some_and(is),
        Some("network" | "container") => values(unit, "Network").into_iter().any(before_options),
        Some("volume") => {
            let mut mounts = values(unit, "Mount")
                .into_iter()
                .flat_map(|it| it.split(','));
            let source = |field: &str| {
                let named = field.strip_prefix("source=").or(field.strip_prefix("src="));
                named.is_some_and(is)
            };
            values(unit, "Volume").into_iter().any(before_options) || mounts.any(source)
        }
        _ => ["Yaml", "ConfigMap"]
            .iter()
            .any(|key| values(unit, key).into_iter().any(is)),
    }
}

/// Returns the value of a key that counts where several lines have it.
fn last<'a>(unit: &'a str, key: &str) -> Option<&'a str> {
    values(unit, key).pop()
}

/// Returns the values of a key, in all sections. An empty one resets those before it.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let mut values = Vec::new();
    for line in unit.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if name.trim() != key {
            continue;
        }
        match value.trim() {
            "" => values.clear(),
            value => values.push(value),
        }
    }
    values
}

#[cfg(test)]
mod tests;
