//! The search: first what no choice can make installable is ruled out, then packages are chosen one dependency
//! after another; a conflict goes back to the last choice that had a part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::explain::{Why, WhyNot};
use super::{Problem, ResolveError};
use crate::relation::{Alternatives, Relation};

/// A package and why it is part of the set: the package that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub id: usize,
    /// Place in the list of the chosen; `None` for roots and for what lies below.
    pub parent: Option<usize>,
}

/// A dependency that waits for a package.
#[derive(Clone, Debug)]
struct Pending {
    alternatives: Alternatives,
    /// Place of the package that needs it; `None` for roots.
    owner: Option<usize>,
    candidates: Vec<usize>,
}

/// What the search found out at a dead end: the places of all choices that had a part in it, and the first dead
/// end's explanation.
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
    /// Packages that cannot be installed whatever is chosen, with the reason.
    hopeless: BTreeMap<usize, Why>,
    chosen: Vec<Chosen>,
    /// The packages in `chosen`.
    ids: BTreeSet<usize>,
    /// How many of the chosen were there before: they were resolved with their own set.
    below: usize,
    first_dead_end: Option<WhyNot>,
}

impl<'a> Problem<'a> {
    /// The closure of the roots over `below`, which is part of the result.
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

    /// The packages that may stand for each root: of its own name, never providers.
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

    /// Everything that roots may lead to and that lacks something whatever is chosen, with the dependency that
    /// cannot be met. Conflicts are not looked at.
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
    /// Takes the roots one after another, then what they need.
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

    /// Meets all that is pending: what leaves no choice first, else in order.
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

    /// Tries the candidates of one dependency in order, each with all that follows from it.
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

    /// The place of a chosen package that cannot stand beside this one.
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
