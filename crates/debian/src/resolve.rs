//! Resolves named sets of packages to their closures, by Debian's rules for dependencies.
//!
//! A package needs its `Pre-Depends` and `Depends`. `Recommends` are not followed, and `Essential`
//! packages are not added by themselves. `Conflicts` and `Breaks` are respected. If several
//! packages meet a dependency, the resolver prefers, in this order: a package that is already in
//! the set, the first alternative, a real package over a provider, the preferred suite, the higher
//! priority, the highest version. `NAME@SOURCE` takes a package of a set from one archive only. The
//! resolver tries the next candidate only if one leads to a conflict.
//! Rules: <https://www.debian.org/doc/debian-policy/ch-relationships.html>.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::Package;
use crate::lock::{self, Lock, Suite};
use crate::relation::{Operator, Qualifier, Relation, RelationError, parse_groups};

mod explain;
mod problem;
mod search;
#[cfg(test)]
mod tests;

pub use explain::ResolveError;
use problem::Problem;

/// All packages of the suites, of all architectures.
#[derive(Debug)]
pub struct Universe {
    suites: Vec<Suite>,
    /// Sorted, so that the order of the indexes has no influence.
    packages: Vec<Package>,
    by_name: BTreeMap<String, Vec<usize>>,
    /// Provided name → the packages that provide it, with the relation that says so.
    providers: BTreeMap<String, Vec<(usize, Relation)>>,
}

/// A set of packages to resolve.
#[derive(Clone, Debug)]
pub struct SetRequest {
    /// Name in the lock.
    pub name: String,
    /// The packages that the set must hold, as relations: `gcc`, `libstd-rust-web-dev:arm64`,
    /// `cmake (>= 3.20)`, `nginx@vendor`.
    pub roots: Vec<String>,
    /// The architectures to resolve for, each separately.
    pub architectures: Vec<String>,
    /// Packages to leave out of the closure. A dependency that one of them would meet counts as
    /// met.
    pub omit: Vec<String>,
    /// Whether to include the dependencies of the roots.
    pub dependencies: bool,
    /// The set that this one extends: its packages count as installed, and this set holds only the
    /// additional ones. Its `omit` applies too.
    pub beyond: Option<String>,
}

impl SetRequest {
    /// Creates a set of roots and all their dependencies.
    pub fn new(name: &str, roots: &[&str], architectures: &[&str]) -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        SetRequest {
            name: name.to_owned(),
            roots: owned(roots),
            architectures: owned(architectures),
            omit: Vec::new(),
            dependencies: true,
            beyond: None,
        }
    }

    /// Returns the architectures whose indexes this set needs: those that it is for, and those that
    /// its roots name.
    pub fn needed_architectures(&self) -> Result<BTreeSet<String>, ResolveError> {
        let mut needed: BTreeSet<String> = self.architectures.iter().cloned().collect();
        for root in self.parsed_roots()? {
            if let Some(Qualifier::Architecture(named)) = root.qualifier {
                needed.insert(named);
            }
        }
        Ok(needed)
    }

    fn parsed_roots(&self) -> Result<Vec<Relation>, ResolveError> {
        let parse = |root: &String| {
            Relation::parse_root(root).map_err(|source| ResolveError::BadRoot {
                set: self.name.clone(),
                source,
            })
        };
        self.roots.iter().map(parse).collect()
    }
}

impl Universe {
    /// Combines the packages of all indexes. [`Package::suite`] is an index into `suites`.
    ///
    /// # Errors
    /// Fails if two suites hold different files for the same version of a package.
    pub fn new(suites: Vec<Suite>, mut packages: Vec<Package>) -> Result<Self, ResolveError> {
        packages.sort_by(|a, b| {
            (&a.name, &a.architecture, a.suite)
                .cmp(&(&b.name, &b.architecture, b.suite))
                .then_with(|| b.version.cmp(&a.version))
                .then_with(|| a.version.as_str().cmp(b.version.as_str()))
                .then_with(|| a.sha256.cmp(&b.sha256))
        });
        let packages = without_duplicates(packages, &suites)?;
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut providers: BTreeMap<String, Vec<(usize, Relation)>> = BTreeMap::new();
        for (id, package) in packages.iter().enumerate() {
            by_name.entry(package.name.clone()).or_default().push(id);
            for provide in &package.provides {
                let entry = providers.entry(provide.name.clone()).or_default();
                entry.push((id, provide.clone()));
            }
        }
        Ok(Universe {
            suites,
            packages,
            by_name,
            providers,
        })
    }

    /// Resolves sets and pins their packages. A set that others extend must come before them.
    pub fn lock(&self, requests: &[SetRequest], snapshot: &str) -> Result<Lock, ResolveError> {
        let mut chosen: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
        let mut omits: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for request in requests {
            let beyond = request.beyond.as_deref();
            let mut omit = beyond
                .and_then(|name| omits.get(name).cloned())
                .unwrap_or_default();
            omit.extend(request.omit.iter().cloned());
            for architecture in &request.architectures {
                let below = match beyond {
                    Some(name) => {
                        Some(chosen.get(&(name, architecture.as_str())).ok_or_else(|| {
                            ResolveError::NoBase {
                                set: request.name.clone(),
                                base: name.to_owned(),
                                architecture: architecture.clone(),
                            }
                        })?)
                    }
                    None => None,
                };
                let below = below.cloned().unwrap_or_default();
                let all =
                    with_room(|| Problem::new(self, request, architecture, &omit)?.solve(&below))?;
                chosen.insert((&request.name, architecture), all);
            }
            omits.insert(&request.name, omit);
        }
        self.to_lock(requests, &chosen, snapshot)
    }

    /// Returns the packages of a name, as places in the list of all packages.
    fn named(&self, name: &str) -> &[usize] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the packages that provide a name, with the relation that says so.
    fn providers(&self, name: &str) -> &[(usize, Relation)] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the libraries that programs need after they were compiled with `packages`. A
    /// development package of Debian depends on its library in exactly its own version, and this
    /// finds the libraries by such dependencies.
    ///
    /// # Errors
    /// Fails if a dependency is malformed.
    pub fn libraries_of(&self, packages: &[String]) -> Result<Vec<String>, RelationError> {
        let mut libraries = BTreeSet::new();
        for wanted in packages {
            let wanted = Relation::parse_root(wanted)?;
            let mut named = self
                .named(&wanted.name)
                .iter()
                .map(|id| &self.packages[*id]);
            let Some(package) = named.find(|package| self.is_from(package, &wanted)) else {
                continue;
            };
            for group in parse_groups(&package.depends)? {
                let [only] = &group[..] else { continue };
                let is_own =
                    matches!(&only.version, Some((Operator::Equal, v)) if *v == package.version);
                if is_own && !only.name.ends_with("-dev") {
                    let source = wanted.source.as_ref();
                    let source = source.map_or(String::new(), |source| format!("@{source}"));
                    libraries.insert(only.name.clone() + &source);
                }
            }
        }
        Ok(libraries.into_iter().collect())
    }

    /// Checks that the archive in a relation exists, if the relation names one.
    fn check_source(&self, set: &str, root: &Relation) -> Result<(), ResolveError> {
        let Some(source) = &root.source else {
            return Ok(());
        };
        let mut known: Vec<&str> = self.suites.iter().map(|it| it.archive.as_str()).collect();
        if known.contains(&source.as_str()) {
            return Ok(());
        }
        known.dedup();
        Err(ResolveError::NoSource {
            set: set.to_owned(),
            root: root.to_string(),
            source_name: source.clone(),
            known: known.join(", "),
        })
    }

    /// Whether a package is in the archive that a relation names, if it names one.
    fn is_from(&self, package: &Package, relation: &Relation) -> bool {
        let archive = &self.suites[package.suite].archive;
        relation.source.as_ref().is_none_or(|it| it == archive)
    }

    fn to_lock(
        &self,
        requests: &[SetRequest],
        chosen: &BTreeMap<(&str, &str), BTreeSet<usize>>,
        snapshot: &str,
    ) -> Result<Lock, ResolveError> {
        let mut lock = Lock {
            version: lock::VERSION,
            suites: self.suites.clone(),
            snapshot: snapshot.to_owned(),
            sets: BTreeMap::new(),
            omitted: BTreeMap::new(),
            packages: BTreeMap::new(),
        };
        for request in requests {
            let mut set = BTreeMap::new();
            for architecture in &request.architectures {
                let below = request
                    .beyond
                    .as_deref()
                    .and_then(|name| chosen.get(&(name, architecture.as_str())));
                let own = &chosen[&(request.name.as_str(), architecture.as_str())];
                let ids = own
                    .iter()
                    .filter(|id| !below.is_some_and(|below| below.contains(id)));
                let mut keys = Vec::new();
                for package in ids.map(|id| &self.packages[*id]) {
                    let pin = self.pin(package);
                    let pinned = lock.packages.entry(package.key()).or_insert(pin.clone());
                    if (&pinned.version, &pinned.sha256) != (&pin.version, &pin.sha256) {
                        return Err(ResolveError::TwoVersions {
                            set: request.name.clone(),
                            package: package.key(),
                            version: pin.version,
                            archive: pin.archive,
                            other: format!("{} of {}", pinned.version, pinned.archive),
                        });
                    }
                    keys.push(package.key());
                }
                keys.sort();
                set.insert(architecture.clone(), keys);
            }
            lock.sets.insert(request.name.clone(), set);
            if !request.omit.is_empty() {
                let omitted: BTreeSet<String> = request.omit.iter().cloned().collect();
                lock.omitted
                    .insert(request.name.clone(), omitted.into_iter().collect());
            }
        }
        Ok(lock)
    }

    fn pin(&self, package: &Package) -> lock::Package {
        lock::Package {
            version: package.version.to_string(),
            archive: self.suites[package.suite].archive.clone(),
            path: package.path.clone(),
            sha256: package.sha256.clone(),
            size: package.size,
        }
    }
}

/// Runs a search on a thread whose stack has room for the whole archive. The search recurses as
/// deep as its set is large.
fn with_room<T: Send>(search: impl FnOnce() -> T + Send) -> T {
    const STACK: usize = 256 << 20;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, search);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => panic!("cannot start a thread: {error}"),
        }
    })
}

/// Drops duplicates: packages for all architectures, and versions that several suites have. An
/// archive that is not Debian's may have other files of the same version.
fn without_duplicates(
    packages: Vec<Package>,
    suites: &[Suite],
) -> Result<Vec<Package>, ResolveError> {
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    let mut kept: Vec<Package> = Vec::with_capacity(packages.len());
    for package in packages {
        let key = (
            package.name.clone(),
            package.architecture.clone(),
            package.version.as_str().to_owned(),
            suites[package.suite].url.clone(),
        );
        match seen.get(&key).map(|place| &kept[*place]) {
            Some(first) if first.sha256 == package.sha256 => {}
            Some(first) => {
                return Err(ResolveError::TwoFiles {
                    package: package.key(),
                    version: package.version.to_string(),
                    first: suites[first.suite].label(),
                    second: suites[package.suite].label(),
                });
            }
            None => {
                seen.insert(key, kept.len());
                kept.push(package);
            }
        }
    }
    Ok(kept)
}
