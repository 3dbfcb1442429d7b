//! The rules by which packages meet dependencies and collide, for one set and one architecture.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{ResolveError, SetRequest, Universe};
use crate::index::{MultiArch, Package};
use crate::relation::{Alternatives, Qualifier, Relation, RelationError, parse_groups, parse_list};
use crate::version::Version;

/// The resolution of one set for one architecture.
pub(super) struct Problem<'a> {
    pub(super) universe: &'a Universe,
    pub(super) set: &'a str,
    /// The architecture that `all` stands for.
    pub(super) native: &'a str,
    /// The architectures of candidates: the native one, and those that roots name.
    pub(super) architectures: BTreeSet<String>,
    pub(super) omit: BTreeSet<&'a str>,
    pub(super) roots: Vec<Relation>,
    pub(super) with_dependencies: bool,
    /// The conflicts that were read so far.
    pub(super) conflicts: RefCell<BTreeMap<usize, Rc<Vec<Relation>>>>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(
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
        if let Some(name) = omit.iter().find(|name| universe.named(name).is_empty()) {
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

    pub(super) fn package(&self, id: usize) -> &'a Package {
        &self.universe.packages[id]
    }

    /// Returns the architecture that a package counts as: the native one for `all`.
    pub(super) fn effective<'b>(&'b self, package: &'b Package) -> &'b str {
        match package.architecture.as_str() {
            "all" => self.native,
            architecture => architecture,
        }
    }

    /// Returns the dependencies of a package.
    pub(super) fn dependencies(&self, id: usize) -> Result<Vec<Alternatives>, ResolveError> {
        if !self.with_dependencies {
            return Ok(Vec::new());
        }
        let package = self.package(id);
        parse_groups(&package.depends).map_err(|source| self.bad_field(package, source))
    }

    pub(super) fn conflicts(&self, id: usize) -> Result<Rc<Vec<Relation>>, ResolveError> {
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

    pub(super) fn bad_field(&self, package: &Package, source: RelationError) -> ResolveError {
        ResolveError::BadField {
            package: package.key(),
            version: package.version.to_string(),
            source,
        }
    }

    /// Whether an omitted package would meet a dependency.
    pub(super) fn is_omitted(&self, alternatives: &[Relation]) -> bool {
        !self.omit.is_empty()
            && alternatives.iter().any(|relation| {
                self.omit.contains(relation.name.as_str())
                    || self
                        .universe
                        .providers(&relation.name)
                        .iter()
                        .any(|(id, _)| self.omit.contains(self.package(*id).name.as_str()))
            })
    }

    /// Returns the packages that meet a dependency of a package with the architecture `depender`,
    /// the preferred one first.
    pub(super) fn candidates(&self, alternatives: &[Relation], depender: &str) -> Vec<usize> {
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
    pub(super) fn real(&self, relation: &Relation, depender: &str) -> Vec<usize> {
        let fit = self
            .universe
            .named(&relation.name)
            .iter()
            .copied()
            .filter(|id| {
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
    pub(super) fn provided(&self, relation: &Relation, depender: &str) -> Vec<usize> {
        let providers = self.universe.providers(&relation.name);
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
    pub(super) fn preference(&self, id: usize, depender: &str) -> impl Ord + 'a {
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
    pub(super) fn serves(
        &self,
        package: &Package,
        qualifier: Option<&Qualifier>,
        depender: &str,
    ) -> bool {
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
    pub(super) fn collide(&self, a: usize, b: usize) -> Result<bool, ResolveError> {
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
    pub(super) fn excludes(&self, a: usize, b: usize) -> Result<Option<Relation>, ResolveError> {
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
