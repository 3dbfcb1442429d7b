//! Reads the signed indexes of suites.

use std::collections::BTreeMap;
use std::process::Command;

use super::private::PrivateApt;
use super::{AptError, Mirrors};
use crate::index::{self, Package};
use crate::keys::Keys;
use crate::lock::Suite;
use crate::release::{Date, Release, is_flat};

/// The content of some suites' indexes.
#[derive(Debug)]
pub struct Indexes {
    /// All packages. [`Package::suite`] is an index into the list of suites.
    pub packages: Vec<Package>,
    /// The youngest date of the suites' release files.
    pub date: Date,
}

/// The options for downloading and checking indexes.
#[derive(Clone, Debug)]
pub struct IndexOptions<'a> {
    /// Suites, the preferred one first.
    pub suites: &'a [Suite],
    /// Architectures to read.
    pub architectures: &'a [String],
    /// The keys that may sign Debian's suites.
    pub keys: &'a Keys,
    /// Archives that are not Debian's, by the name that suites give as their archive.
    pub sources: &'a BTreeMap<String, Source>,
    /// Whether to accept expired release files. The machine's apt configuration can also allow them
    /// (`Acquire::Check-Valid-Until`).
    pub allow_stale: bool,
}

/// An archive that is not Debian's. It has its own keys, and these sign nothing else.
#[derive(Clone, Debug)]
pub struct Source {
    /// The keys that may sign its suites.
    pub keys: Keys,
    /// The only architectures to read. Without them, all are read, and the archive may lack some.
    pub architectures: Option<Vec<String>>,
}

impl IndexOptions<'_> {
    pub(super) fn keys_of(&self, suite: &Suite) -> &Keys {
        self.sources
            .get(&suite.archive)
            .map_or(self.keys, |source| &source.keys)
    }

    /// Returns the architectures to read of a suite.
    pub(super) fn architectures_of(&self, suite: &Suite) -> Vec<&String> {
        let source = self.sources.get(&suite.archive);
        let only = source.and_then(|source| source.architectures.as_ref());
        let wanted = |it: &&String| only.is_none_or(|only| only.contains(it));
        self.architectures.iter().filter(wanted).collect()
    }
}

/// Downloads, verifies and reads the indexes of suites.
pub fn read_indexes(mirrors: &Mirrors, options: &IndexOptions<'_>) -> Result<Indexes, AptError> {
    let allow_stale = options.allow_stale || machine_allows_stale();
    let mut packages = Vec::new();
    // The snapshot archive has only Debian's files, so other archives' dates say nothing about it.
    let mut date = None;
    for (place, suite) in options.suites.iter().enumerate() {
        let mut first_error = None;
        for mirror in mirrors.of(&suite.archive)? {
            match read_suite(mirror, suite, place, options, allow_stale) {
                Ok((found, made)) => {
                    packages.extend(found);
                    if suite.url.is_none() {
                        date = date.max(Some(made));
                    }
                    first_error = None;
                    break;
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if let Some(error) = first_error {
            return Err(match suite.url {
                None => error,
                Some(_) => AptError::OfSource {
                    name: suite.archive.clone(),
                    source: Box::new(error),
                },
            });
        }
    }
    Ok(Indexes {
        packages,
        date: date.unwrap_or_else(Date::now),
    })
}

fn read_suite(
    mirror: &str,
    suite: &Suite,
    place: usize,
    options: &IndexOptions<'_>,
    allow_stale: bool,
) -> Result<(Vec<Package>, Date), AptError> {
    if options.architectures_of(suite).is_empty() {
        return Ok((Vec::new(), Date::EPOCH));
    }
    let apt = PrivateApt::new()?;
    apt.write_source(mirror, suite, options)?;
    apt.update()?;
    let find = |name: &str| {
        apt.list(name)?.ok_or_else(|| AptError::NoIndex {
            mirror: mirror.to_owned(),
            suite: suite.name.clone(),
            what: name.to_owned(),
        })
    };
    let in_release = find("InRelease")?;
    let release = Release::open(&in_release, options.keys_of(suite))?;
    release.check(&in_release, &suite.name, Date::now(), allow_stale)?;
    let mut packages = Vec::new();
    for name in index_names(suite, &release, options) {
        let path = find(&name)?;
        let bytes = release.read_index(&path, &name)?;
        let text = String::from_utf8(bytes).map_err(|_| AptError::NotUtf8(path))?;
        let name = format!("{}/{name}", suite.name.trim_end_matches('/'));
        packages.extend(index::parse(&text, &name, place)?);
    }
    let wanted = options.architectures_of(suite);
    packages.retain(|it| it.architecture == "all" || wanted.contains(&&it.architecture));
    Ok((packages, release.date))
}

/// Returns the indexes to read of a suite. An archive other than Debian's may lack an architecture,
/// unless the source names that architecture.
fn index_names(suite: &Suite, release: &Release, options: &IndexOptions<'_>) -> Vec<String> {
    if is_flat(&suite.name) {
        return vec!["Packages".to_owned()];
    }
    let source = options.sources.get(&suite.archive);
    let may_lack = source.is_some_and(|source| source.architectures.is_none());
    let is_listed = |name: &String| release.files.contains_key(name);
    let mut names = Vec::new();
    for component in &suite.components {
        let name = |architecture: &str| format!("{component}/binary-{architecture}/Packages");
        let wanted = options.architectures_of(suite);
        let wanted: Vec<String> = wanted.into_iter().map(|it| name(it)).collect();
        let all = Some(name("all"))
            .filter(|name| suite.url.is_some() && release.splits_all && is_listed(name));
        // If none is listed, the error names the first.
        let keep_all = !may_lack || (all.is_none() && !wanted.iter().any(is_listed));
        names.extend(
            wanted
                .into_iter()
                .filter(|name| keep_all || is_listed(name)),
        );
        names.extend(all);
    }
    names
}

fn machine_allows_stale() -> bool {
    let output = Command::new("apt-config")
        .args(["shell", "CHECK", "Acquire::Check-Valid-Until/b"])
        .output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("'false'"))
}
