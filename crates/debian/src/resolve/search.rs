//! The search. First it rules out packages that can never be installed. Then it chooses packages,
//! one dependency after another. After a conflict it goes back to the last choice that contributed
//! to it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::ResolveError;
use super::explain::{Why, WhyNot};
use super::problem::Problem;
use crate::relation::{Alternatives, Relation};

/// A package, and the package that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub id: usize,
    /// Index into the chosen packages. `None` for roots and for packages of the extended set.
    pub parent: Option<usize>,
}

/// A dependency for which no package is chosen yet.
#[derive(Clone, Debug)]
struct Pending {
    alternatives: Alternatives,
    /// Index of the package that needs it. `None` for roots.
    owner: Option<usize>,
    candidates: Vec<usize>,
}

/// A dead end: the indexes of all choices that contributed to it, and its explanation.
struct DeadEnd {
    involved: BTreeSet<usize>,
    why: WhyNot,
}

enum Step {
    Done,
    DeadEnd(DeadEnd),
}

struct Search<'p, 'a> {
    problem: &'p Problem<'a>,
    /// Packages that can never be installed, with the reason.
    hopeless: BTreeMap<usize, Why>,
    chosen: Vec<Chosen>,
    /// The packages in `chosen`.
    ids: BTreeSet<usize>,
    /// The number of chosen packages that belong to the extended set.
    below: usize,
    first_dead_end: Option<WhyNot>,
}

impl Problem<'_> {
    /// Finds the closure of the roots, in addition to `below`, the packages of the extended set.
    /// The result includes `below`.
    pub(super) fn solve(&self, below: &BTreeSet<usize>) -> Result<BTreeSet<usize>, ResolveError> {
        let roots = self.root_candidates(below)?;
        let hopeless = self.hopeless(&roots)?;
        for (root, candidates) in &roots {
            if candidates.iter().all(|id| hopeless.contains_key(id)) {
                return Err(self.explain_missing(root, candidates, &hopeless));
            }
        }
        let mut search = Search {
            problem: self,
            hopeless,
            chosen: below
                .iter()
                .map(|id| Chosen {
                    id: *id,
                    parent: None,
                })
                .collect(),
            ids: below.clone(),
            below: below.len(),
            first_dead_end: None,
        };
        match search.roots(&roots, 0)? {
            Step::Done => Ok(search.chosen.iter().map(|c| c.id).collect()),
            Step::DeadEnd(dead_end) => {
                let why = search.first_dead_end.take().unwrap_or(dead_end.why);
                Err(self.explain_conflict(why))
            }
        }
    }

    /// Returns the candidates for each root: packages of its name, never providers.
    fn root_candidates(
        &self,
        below: &BTreeSet<usize>,
    ) -> Result<Vec<(Relation, Vec<usize>)>, ResolveError> {
        self.roots
            .iter()
            .map(|root| {
                let mut candidates = self.real(root, self.native);
                candidates.sort_by_key(|id| !below.contains(id));
                if candidates.is_empty() {
                    return Err(self.explain_root(root));
                }
                Ok((root.clone(), candidates))
            })
            .collect()
    }

    /// Finds all packages reachable from the roots that can never be installed, with the dependency
    /// that cannot be met. Ignores conflicts.
    fn hopeless(
        &self,
        roots: &[(Relation, Vec<usize>)],
    ) -> Result<BTreeMap<usize, Why>, ResolveError> {
        let mut groups: Vec<(usize, Alternatives, Vec<usize>)> = Vec::new();
        let mut users: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut queue: Vec<usize> = roots
            .iter()
            .flat_map(|(_, ids)| ids.iter().copied())
            .collect();
        while let Some(id) = queue.pop() {
            if !seen.insert(id) {
                continue;
            }
            for alternatives in self.dependencies(id)? {
                if self.is_omitted(&alternatives) {
                    continue;
                }
                let candidates = self.candidates(&alternatives, self.effective(self.package(id)));
                for candidate in &candidates {
                    users.entry(*candidate).or_default().push(groups.len());
                }
                queue.extend(&candidates);
                groups.push((id, alternatives, candidates));
            }
        }
        let mut hopeless: BTreeMap<usize, Why> = BTreeMap::new();
        let mut check: Vec<usize> = (0..groups.len()).collect();
        while let Some(group) = check.pop() {
            let (owner, alternatives, candidates) = &groups[group];
            if hopeless.contains_key(owner)
                || candidates.iter().any(|id| !hopeless.contains_key(id))
            {
                continue;
            }
            let why = Why {
                rank: hopeless.len(),
                alternatives: alternatives.clone(),
                candidates: candidates.clone(),
            };
            hopeless.insert(*owner, why);
            check.extend(users.get(owner).into_iter().flatten());
        }
        Ok(hopeless)
    }
}

impl Search<'_, '_> {
    /// Chooses the roots one after another, then their dependencies.
    fn roots(
        &mut self,
        roots: &[(Relation, Vec<usize>)],
        next: usize,
    ) -> Result<Step, ResolveError> {
        let Some((root, candidates)) = roots.get(next) else {
            let mut pending = Vec::new();
            for place in self.below..self.chosen.len() {
                pending.extend(self.dependencies_of(place)?);
            }
            return self.advance(pending);
        };
        let pending = Pending {
            alternatives: vec![root.clone()],
            owner: None,
            candidates: self.hopeful(candidates),
        };
        if self.is_met(&pending.candidates) {
            return self.roots(roots, next + 1);
        }
        self.choose(&pending, |search| search.roots(roots, next + 1))
    }

    /// Meets all pending dependencies. Those with a single candidate come first, the others in
    /// order.
    fn advance(&mut self, mut pending: Vec<Rc<Pending>>) -> Result<Step, ResolveError> {
        pending.retain(|p| !self.is_met(&p.candidates));
        let Some(place) = pending
            .iter()
            .position(|p| p.candidates.len() <= 1)
            .or((!pending.is_empty()).then_some(0))
        else {
            return Ok(Step::Done);
        };
        let next = pending.remove(place);
        self.choose(&next, |search| {
            let place = search.chosen.len() - 1;
            let mut rest = pending.clone();
            rest.extend(search.dependencies_of(place)?);
            search.advance(rest)
        })
    }

    /// Tries the candidates of one dependency in order, each with all its consequences.
    fn choose(
        &mut self,
        pending: &Pending,
        mut then: impl FnMut(&mut Self) -> Result<Step, ResolveError>,
    ) -> Result<Step, ResolveError> {
        let level = self.chosen.len();
        let parent = pending.owner;
        let mut involved: BTreeSet<usize> = parent.into_iter().collect();
        let mut rivals = Vec::new();
        for id in &pending.candidates {
            if let Some(rival) = self.rival(*id)? {
                involved.insert(rival);
                rivals.push((*id, rival));
                continue;
            }
            self.chosen.push(Chosen { id: *id, parent });
            self.ids.insert(*id);
            match then(self)? {
                Step::Done => return Ok(Step::Done),
                Step::DeadEnd(mut dead_end) => {
                    self.chosen.truncate(level);
                    self.ids.remove(id);
                    if !dead_end.involved.remove(&level) {
                        return Ok(Step::DeadEnd(dead_end));
                    }
                    involved.extend(dead_end.involved);
                }
            }
        }
        let why = WhyNot {
            alternatives: pending.alternatives.clone(),
            chosen: self.chosen.clone(),
            parent,
            rivals,
        };
        if self.first_dead_end.is_none() {
            self.first_dead_end = Some(why.clone());
        }
        Ok(Step::DeadEnd(DeadEnd { involved, why }))
    }

    /// Returns the index of a chosen package that excludes this one.
    fn rival(&self, id: usize) -> Result<Option<usize>, ResolveError> {
        for (place, other) in self.chosen.iter().enumerate() {
            if self.problem.collide(id, other.id)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn dependencies_of(&self, place: usize) -> Result<Vec<Rc<Pending>>, ResolveError> {
        let problem = self.problem;
        let id = self.chosen[place].id;
        let architecture = problem.effective(problem.package(id));
        Ok(problem
            .dependencies(id)?
            .into_iter()
            .filter(|alternatives| !problem.is_omitted(alternatives))
            .map(|alternatives| {
                Rc::new(Pending {
                    candidates: self.hopeful(&problem.candidates(&alternatives, architecture)),
                    owner: Some(place),
                    alternatives,
                })
            })
            .collect())
    }

    fn hopeful(&self, candidates: &[usize]) -> Vec<usize> {
        candidates
            .iter()
            .copied()
            .filter(|id| !self.hopeless.contains_key(id))
            .collect()
    }

    fn is_met(&self, candidates: &[usize]) -> bool {
        candidates.iter().any(|id| self.ids.contains(id))
    }
}
