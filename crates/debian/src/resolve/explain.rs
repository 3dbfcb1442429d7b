//! Explains why a set cannot be resolved, by the chain of packages that leads to the problem.

use std::collections::BTreeMap;

use super::problem::Problem;
use super::search::Chosen;
use crate::lock::Suite;
use crate::relation::display_alternatives;
use crate::relation::{Alternatives, Relation, RelationError};

/// The error for sets that cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ResolveError {
    #[error("set {set} ({architecture}): {chain}: {reason}")]
    Missing {
        set: String,
        architecture: String,
        /// `a → b → c (>= 2)`.
        chain: String,
        reason: String,
    },
    #[error("set {set} ({architecture}): {chain}: {reason}")]
    Conflict {
        set: String,
        architecture: String,
        chain: String,
        reason: String,
    },
    #[error("set {set}: {source}")]
    BadRoot { set: String, source: RelationError },
    #[error("set {set}: `omit` names `{name}`, but no suite has it")]
    UnknownOmit { set: String, name: String },
    #[error("set {set} extends the set {base}, which is not resolved for {architecture}")]
    NoBase {
        set: String,
        base: String,
        architecture: String,
    },
    #[error("the index has a malformed field for {package} {version}: {source}")]
    BadField {
        package: String,
        version: String,
        source: RelationError,
    },
    #[error(
        "set {set}: `{root}`: there is no source `{source_name}`, only {known}; add \
         [debian.sources.{source_name}] to images.toml"
    )]
    NoSource {
        set: String,
        root: String,
        source_name: String,
        known: String,
    },
    #[error(
        "set {set} has {package} {version} of {archive}, and another set has {other}; a lock pins \
         one version of a package: ask for the same version and source in both sets"
    )]
    TwoVersions {
        set: String,
        package: String,
        version: String,
        archive: String,
        other: String,
    },
    #[error("{package} {version} is one file in {first} and another in {second}")]
    TwoFiles {
        package: String,
        version: String,
        first: String,
        second: String,
    },
}

/// The reason why a package can never be installed: none of these alternatives can be.
#[derive(Clone, Debug)]
pub(super) struct Why {
    /// The order in which the reasons were found. A reason follows from reasons with a smaller
    /// rank.
    pub rank: usize,
    pub alternatives: Alternatives,
    pub candidates: Vec<usize>,
}

/// A dependency for which the earlier choices leave no package.
#[derive(Clone, Debug)]
pub(super) struct WhyNot {
    pub alternatives: Alternatives,
    pub chosen: Vec<Chosen>,
    /// Index of the package that needs it.
    pub parent: Option<usize>,
    /// Each candidate, with the index of the chosen package that excludes it.
    pub rivals: Vec<(usize, usize)>,
}

impl Problem<'_> {
    /// Makes the error for a root whose name no package has.
    pub(super) fn explain_root(&self, root: &Relation) -> ResolveError {
        let mut reason = self.what_exists(std::slice::from_ref(root), self.native);
        let providers = self.provided(root, self.native);
        if !providers.is_empty() {
            let names: Vec<&str> = providers
                .iter()
                .map(|id| self.package(*id).name.as_str())
                .collect();
            reason = format!(
                "no package has that name; it is provided by {}: name one of them",
                names.join(", ")
            );
        }
        self.missing(root.to_string(), reason)
    }

    /// Makes the error for a root that cannot be installed. Follows the chain to the first
    /// dependency that no package meets.
    pub(super) fn explain_missing(
        &self,
        root: &Relation,
        candidates: &[usize],
        hopeless: &BTreeMap<usize, Why>,
    ) -> ResolveError {
        let mut chain = vec![root.to_string()];
        let (mut candidates, mut below) = (candidates.to_vec(), usize::MAX);
        let mut last = (vec![root.clone()], self.native.to_owned());
        // Each step goes to a reason that was found earlier, so the loop ends.
        while let Some((id, why)) = first_with_reason(&candidates, hopeless, below) {
            chain.push(display_alternatives(&why.alternatives));
            last = (
                why.alternatives.clone(),
                self.effective(self.package(id)).to_owned(),
            );
            candidates.clone_from(&why.candidates);
            below = why.rank;
        }
        self.missing(chain.join(" → "), self.what_exists(&last.0, &last.1))
    }

    /// Makes the error for a conflict between packages that the set needs.
    pub(super) fn explain_conflict(&self, why: WhyNot) -> ResolveError {
        let mut chain = self.chain_to(&why.chosen, why.parent);
        chain.push(display_alternatives(&why.alternatives));
        let reasons: Vec<String> = why
            .rivals
            .iter()
            .map(|(id, place)| self.collision(*id, &why.chosen, *place))
            .collect();
        ResolveError::Conflict {
            set: self.set.to_owned(),
            architecture: self.native.to_owned(),
            chain: chain.join(" → "),
            reason: reasons.join("; "),
        }
    }

    fn missing(&self, chain: String, reason: String) -> ResolveError {
        ResolveError::Missing {
            set: self.set.to_owned(),
            architecture: self.native.to_owned(),
            chain,
            reason,
        }
    }

    /// Names the packages that the suites have instead.
    fn what_exists(&self, alternatives: &[Relation], depender: &str) -> String {
        let texts: Vec<String> = alternatives
            .iter()
            .map(|r| self.what_exists_of(r, depender))
            .collect();
        texts.join("; ")
    }

    fn what_exists_of(&self, relation: &Relation, depender: &str) -> String {
        let suites: Vec<String> = self.universe.suites.iter().map(Suite::label).collect();
        let suites = suites.join(", ");
        let named = self.universe.named(&relation.name);
        let versions: Vec<String> = named
            .iter()
            .map(|id| self.package(*id))
            .map(|p| {
                format!(
                    "{} ({}, {})",
                    p.version,
                    p.architecture,
                    self.universe.suites[p.suite].label()
                )
            })
            .collect();
        if versions.is_empty() {
            return match self.universe.providers(&relation.name) {
                [] => format!("no package `{}` in {suites}", relation.name),
                _ => {
                    format!("packages only provide `{relation}`, and none of them fits {depender}")
                }
            };
        }
        format!(
            "no package fits `{relation}` for {depender}; there is {}",
            versions.join(", ")
        )
    }

    /// Returns the names on the chain to a chosen package, the root first.
    fn chain_to(&self, chosen: &[Chosen], place: Option<usize>) -> Vec<String> {
        let mut names = Vec::new();
        let mut next = place;
        while let Some(place) = next {
            names.push(self.package(chosen[place].id).name.clone());
            next = chosen[place].parent;
        }
        names.reverse();
        names
    }

    /// Explains why a package and a chosen one exclude each other.
    fn collision(&self, id: usize, chosen: &[Chosen], place: usize) -> String {
        let (package, rival) = (self.package(id), self.package(chosen[place].id));
        let way = self.chain_to(chosen, Some(place)).join(" → ");
        let this = format!("{} {}", package.key(), package.version);
        if package.name == rival.name {
            return format!(
                "{this} cannot be installed beside {} {} ({way})",
                rival.key(),
                rival.version
            );
        }
        // A malformed field was reported earlier.
        match (
            self.excludes(id, chosen[place].id),
            self.excludes(chosen[place].id, id),
        ) {
            (Ok(Some(relation)), _) => {
                format!("{this} conflicts with `{relation}`, which is here through {way}")
            }
            (_, Ok(Some(relation))) => {
                format!("{this} is in conflict with {way}, which excludes `{relation}`")
            }
            _ => format!("{this} is in conflict with {way}"),
        }
    }
}

/// Returns the first candidate whose reason was found before `below`.
fn first_with_reason<'w>(
    candidates: &[usize],
    hopeless: &'w BTreeMap<usize, Why>,
    below: usize,
) -> Option<(usize, &'w Why)> {
    candidates
        .iter()
        .filter_map(|id| hopeless.get(id).map(|why| (*id, why)))
        .find(|(_, why)| why.rank < below)
}
