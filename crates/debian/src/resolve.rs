//! Resolves named sets of packages to their closures, by Debian's rules for dependencies.
//!
//! A package needs its `Pre-Depends` and `Depends`. `Recommends` are not followed, and `Essential`
//! packages are not added by themselves. `Conflicts` and `Breaks` are respected. If several
//! packages meet a dependency, the resolver prefers, in this order: a package that is already in
//! the set, the first alternative, a real package over a provider, the preferred suite, the higher
//! priority, the highest version. `NAME@SOURCE` takes a package of a set from one archive only. The
//! resolver tries the next candidate only if one leads to a conflict.
//! Rules: <https://www.debian.org/doc/debian-policy/ch-relationships.html>.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::index::{MultiArch, Package};
use crate::lock::{self, Lock, Suite};
use crate::relation::{
    Alternatives, Operator, Qualifier, Relation, RelationError, display_alternatives, parse_groups,
    parse_list,
};
use crate::version::Version;

mod explain;
mod search;
#[cfg(test)]
mod tests;

pub use explain::ResolveError;

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
            let named = self.by_name.get(&wanted.name).into_iter().flatten();
            let mut named = named.map(|id| &self.packages[*id]);
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

/// The resolution of one set for one architecture.
struct Problem<'a> {
    universe: &'a Universe,
    set: &'a str,
    /// The architecture that `all` stands for.
    native: &'a str,
    /// The architectures of candidates: the native one, and those that roots name.
    architectures: BTreeSet<String>,
    omit: BTreeSet<&'a str>,
    roots: Vec<Relation>,
    with_dependencies: bool,
    /// The conflicts that were read so far.
    conflicts: RefCell<BTreeMap<usize, Rc<Vec<Relation>>>>,
}

impl<'a> Problem<'a> {
    fn new(
        universe: &'a Universe,
        request: &'a SetRequest,
        native: &'a str,
        omit: &'a [String],
    ) -> Result<Self, ResolveError> {
        let roots = request.parsed_roots()?;
        for root in &roots {
            universe.check_source(&request.name, root)?;
        }
        let named = roots.iter().filter_map(|root| match &root.qualifier {
            Some(Qualifier::Architecture(named)) => Some(named.clone()),
            _ => None,
        });
        let architectures = named.chain([native.to_owned()]).collect();
        if let Some(name) = omit
            .iter()
            .find(|name| !universe.by_name.contains_key(name.as_str()))
        {
            return Err(ResolveError::UnknownOmit {
                set: request.name.clone(),
                name: name.clone(),
            });
        }
        Ok(Problem {
            universe,
            set: &request.name,
            native,
            architectures,
            omit: omit.iter().map(String::as_str).collect(),
            roots,
            with_dependencies: request.dependencies,
            conflicts: RefCell::default(),
        })
    }

    fn package(&self, id: usize) -> &'a Package {
        &self.universe.packages[id]
    }

    /// Returns the architecture that a package counts as: the native one for `all`.
    fn effective<'b>(&'b self, package: &'b Package) -> &'b str {
        match package.architecture.as_str() {
            "all" => self.native,
            architecture => architecture,
        }
    }

    /// Returns the dependencies of a package.
    fn dependencies(&self, id: usize) -> Result<Vec<Alternatives>, ResolveError> {
        if !self.with_dependencies {
            return Ok(Vec::new());
        }
        let package = self.package(id);
        parse_groups(&package.depends).map_err(|source| self.bad_field(package, source))
    }

    fn conflicts(&self, id: usize) -> Result<Rc<Vec<Relation>>, ResolveError> {
        if let Some(known) = self.conflicts.borrow().get(&id) {
            return Ok(Rc::clone(known));
        }
        let package = self.package(id);
        let read =
            parse_list(&package.conflicts).map_err(|source| self.bad_field(package, source))?;
        let read = Rc::new(read);
        self.conflicts.borrow_mut().insert(id, Rc::clone(&read));
        Ok(read)
    }

    fn bad_field(&self, package: &Package, source: RelationError) -> ResolveError {
        ResolveError::BadField {
            package: package.key(),
            version: package.version.to_string(),
            source,
        }
    }

    /// Whether an omitted package would meet a dependency.
    fn is_omitted(&self, alternatives: &[Relation]) -> bool {
        !self.omit.is_empty()
            && alternatives.iter().any(|relation| {
                self.omit.contains(relation.name.as_str())
                    || self
                        .universe
                        .providers
                        .get(&relation.name)
                        .is_some_and(|providers| {
                            providers
                                .iter()
                                .any(|(id, _)| self.omit.contains(self.package(*id).name.as_str()))
                        })
            })
    }

    /// Returns the packages that meet a dependency of a package with the architecture `depender`,
    /// the preferred one first.
    fn candidates(&self, alternatives: &[Relation], depender: &str) -> Vec<usize> {
        let mut all = Vec::new();
        for relation in alternatives {
            for id in self
                .real(relation, depender)
                .into_iter()
                .chain(self.provided(relation, depender))
            {
                if !all.contains(&id) {
                    all.push(id);
                }
            }
        }
        all.retain(|id| !self.omit.contains(self.package(*id).name.as_str()));
        all
    }

    /// Returns the packages that have the name, by preference.
    fn real(&self, relation: &Relation, depender: &str) -> Vec<usize> {
        let named = self
            .universe
            .by_name
            .get(&relation.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let fit = named.iter().copied().filter(|id| {
            let package = self.package(*id);
            self.serves(package, relation.qualifier.as_ref(), depender)
                && relation.accepts(&package.version)
                && self.universe.is_from(package, relation)
        });
        let mut found: Vec<usize> = fit.collect();
        found.sort_by(|a, b| {
            self.preference(*a, depender)
                .cmp(&self.preference(*b, depender))
        });
        found
    }

    /// Returns the packages that provide the name, by preference.
    fn provided(&self, relation: &Relation, depender: &str) -> Vec<usize> {
        let providers = self
            .universe
            .providers
            .get(&relation.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let fit = providers.iter().filter(|(id, provide)| {
            self.serves(self.package(*id), relation.qualifier.as_ref(), depender)
                && meets(provide, relation)
                && self.universe.is_from(self.package(*id), relation)
        });
        let mut found: Vec<usize> = fit.map(|(id, _)| *id).collect();
        found.sort_by(|a, b| {
            self.preference(*a, depender)
                .cmp(&self.preference(*b, depender))
        });
        found
    }

    /// Returns the order among packages that meet a relation equally well: smaller is better.
    fn preference(&self, id: usize, depender: &str) -> impl Ord + 'a {
        let package = self.package(id);
        (
            self.effective(package) != depender,
            package.suite,
            package.priority,
            package.name.as_str(),
            std::cmp::Reverse(&package.version),
            package.architecture.as_str(),
        )
    }

    /// Whether a package of this architecture may serve the one that depends on it.
    fn serves(&self, package: &Package, qualifier: Option<&Qualifier>, depender: &str) -> bool {
        let architecture = self.effective(package);
        self.architectures.contains(architecture)
            && match qualifier {
                None => architecture == depender || package.multi_arch == MultiArch::Foreign,
                Some(Qualifier::Any) => {
                    architecture == depender || package.multi_arch == MultiArch::Allowed
                }
                Some(Qualifier::Architecture(wanted)) => architecture == wanted,
            }
    }

    /// Whether two packages exclude each other.
    fn collide(&self, a: usize, b: usize) -> Result<bool, ResolveError> {
        let (first, second) = (self.package(a), self.package(b));
        if first.name == second.name {
            let side_by_side = first.multi_arch == MultiArch::Same
                && second.multi_arch == MultiArch::Same
                && self.effective(first) != self.effective(second)
                && first.version == second.version;
            return Ok(a != b && !side_by_side);
        }
        Ok(self.excludes(a, b)?.is_some() || self.excludes(b, a)?.is_some())
    }

    /// Returns the relation in `Conflicts` or `Breaks` of `a` that matches `b`.
    fn excludes(&self, a: usize, b: usize) -> Result<Option<Relation>, ResolveError> {
        let other = self.package(b);
        let hit = |relation: &Relation| {
            let architecture = match &relation.qualifier {
                Some(Qualifier::Architecture(wanted)) => wanted == self.effective(other),
                _ => true,
            };
            let named = relation.name == other.name && relation.accepts(&other.version);
            architecture
                && (named
                    || other
                        .provides
                        .iter()
                        .any(|p| p.name == relation.name && meets(p, relation)))
        };
        Ok(self
            .conflicts(a)?
            .iter()
            .find(|relation| hit(relation))
            .cloned())
    }
}

/// Whether a provided name meets a relation. Without a version, it meets only relations without
/// one.
fn meets(provide: &Relation, relation: &Relation) -> bool {
    let provided: Option<&Version> = provide.version.as_ref().map(|(_, version)| version);
    match (&relation.version, provided) {
        (None, _) => true,
        (Some(_), Some(version)) => relation.accepts(version),
        (Some(_), None) => false,
    }
}

/// Formats alternatives for messages: `a | b (>= 1)`.
fn text_of(alternatives: &[Relation]) -> String {
    display_alternatives(alternatives)
}
