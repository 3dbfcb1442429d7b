//! Takes metadata from libraries instead of making it.
//!
//! A pipelined library has two units: one makes only its metadata, the other the whole library,
//! which holds the same metadata. With free cores, a separate metadata unit lets dependents start
//! early. With few cores, it only makes the compiler do the same work twice. So the driver chooses
//! for each library on each machine: it either builds the metadata unit as its derivation says, or
//! lets it wait for the library and take the metadata from there. The output has the same bytes.
//!
//! To take metadata, the driver gives Nix the derivation with an additional input. Nix allows that
//! only for trusted users.

use crate::Result;
use crate::kind::unit_of;
use crate::schedule::{Graph, Order, Task};
use crate::simulate::simulate;
use crateyard_nix::{Closure, Derivation, Node, Recipe};
use crateyard_unit::{Action, METADATA};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The variable that tells a unit's runner which library to take from.
const WHOLE: &str = "whole";
/// The time for taking metadata: a cell copies a few files.
const TAKING: f64 = 0.05;

/// Maps metadata units to the libraries with the same metadata. Both are nodes of a closure.
pub type Libraries = BTreeMap<usize, usize>;

/// Finds the libraries of the metadata units among `chosen`.
pub fn libraries(closure: &Closure, chosen: &BTreeSet<usize>) -> Libraries {
    let is_metadata = |index: &usize| closure.nodes[*index].name().ends_with(METADATA);
    let metadata: Vec<usize> = chosen.iter().copied().filter(is_metadata).collect();
    let names: BTreeSet<&str> = metadata
        .iter()
        .filter_map(|&index| closure.nodes[index].name().strip_suffix(METADATA))
        .collect();
    let named = closure.nodes.iter().enumerate();
    let whole: HashMap<Identity, usize> = named
        .filter(|(_, node)| names.contains(node.name()))
        .filter_map(|(index, node)| Some((identity(node)?, index)))
        .collect();
    let found = metadata.into_iter().filter_map(|index| {
        let library = whole.get(&identity(&closure.nodes[index])?)?;
        Some((index, *library))
    });
    found.collect()
}

/// The parts that a library's two units have in common: everything but their names, and that one
/// stops after the metadata.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    builder: String,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    unit: String,
}

fn identity(node: &Node) -> Option<Identity> {
    let mut unit = unit_of(&node.derivation)?;
    let Action::Compile { metadata_only, .. } = &mut unit.action else {
        return None;
    };
    *metadata_only = false;
    unit.name.clear();
    let Derivation {
        builder, args, env, ..
    } = &node.derivation;
    let mut env = env.clone();
    for differing in ["name", "out", "unit"] {
        env.remove(differing);
    }
    Some(Identity {
        builder: builder.clone(),
        args: args.clone(),
        env,
        unit: serde_json::to_string(&unit).ok()?,
    })
}

/// The builds among which some metadata may be taken.
pub struct Choice<'a> {
    /// The tasks, with the inputs of their derivations.
    pub graph: &'a Graph,
    /// The nodes of the tasks, in the tasks' order.
    pub chosen: &'a BTreeSet<usize>,
    /// The libraries from which metadata can be taken.
    pub libraries: &'a Libraries,
    /// The order in which ready tasks start.
    pub order: Order,
    /// Builds at once.
    pub jobs: usize,
}

/// The result of a choice.
pub struct Taken {
    /// The tasks. Those that take metadata wait for their libraries.
    pub graph: Graph,
    /// Maps each task that takes metadata to its library's node.
    pub from: BTreeMap<usize, usize>,
}

impl Choice<'_> {
    /// Makes the choice with which the build finishes soonest. `is_there` says whether a library
    /// that is not a task is in the store.
    ///
    /// # Errors
    /// Fails if a task waits for itself.
    pub fn make(&self, is_there: impl Fn(usize) -> bool) -> Result<Taken> {
        let task_of: HashMap<usize, usize> = self.chosen.iter().copied().zip(0..).collect();
        let mut candidates = Candidates::default();
        for (metadata, library) in self.libraries {
            let task = task_of[metadata];
            if let Some(&whole) = task_of.get(library) {
                candidates.to_build.insert(task, (whole, *library));
            } else if is_there(*library) {
                candidates.there.insert(task, *library);
            }
        }
        let waiting = self.best(&candidates)?;
        let from = waiting
            .iter()
            .map(|task| (*task, candidates.to_build[task].1));
        Ok(Taken {
            graph: self.rewired(&candidates, &waiting)?,
            from: from.chain(candidates.there).collect(),
        })
    }

    /// Chooses the tasks that should wait for libraries that are still to be built. Searches twice,
    /// starting with all of them and with none, and takes the better result.
    fn best(&self, candidates: &Candidates) -> Result<BTreeSet<usize>> {
        let seconds = |waiting: &BTreeSet<usize>| {
            let graph = self.rewired(candidates, waiting)?;
            Ok(simulate(&graph, self.order, self.jobs).seconds)
        };
        let all: BTreeSet<usize> = candidates.to_build.keys().copied().collect();
        if all.is_empty() {
            return Ok(all);
        }
        let (few, from_all) = improved(all.clone(), &all, &seconds)?;
        let (many, from_none) = improved(BTreeSet::new(), &all, &seconds)?;
        Ok(if few <= many { from_all } else { from_none })
    }

    /// Returns the tasks, some of which wait for their libraries. A task that takes from an
    /// existing library waits for nothing.
    fn rewired(&self, candidates: &Candidates, waiting: &BTreeSet<usize>) -> Result<Graph> {
        let mut tasks: Vec<Task> = self.graph.tasks().to_vec();
        for &task in waiting {
            tasks[task].inputs = vec![candidates.to_build[&task].0];
            tasks[task].seconds = TAKING;
        }
        for &task in candidates.there.keys() {
            tasks[task].inputs.clear();
            tasks[task].seconds = TAKING;
        }
        Graph::new(tasks)
    }
}

/// Metadata tasks that can take from a library.
#[derive(Default)]
struct Candidates {
    /// Maps tasks to a library that is also a task: the task and the node.
    to_build: BTreeMap<usize, (usize, usize)>,
    /// Maps tasks to the node of a library that already exists.
    there: BTreeMap<usize, usize>,
}

/// Moves tasks in and out of a set, one after another, while that makes the build faster. Also
/// returns the seconds.
fn improved(
    mut set: BTreeSet<usize>,
    all: &BTreeSet<usize>,
    seconds: &impl Fn(&BTreeSet<usize>) -> Result<f64>,
) -> Result<(f64, BTreeSet<usize>)> {
    let mut least = seconds(&set)?;
    loop {
        let before = least;
        for task in all {
            let mut other = set.clone();
            if !other.remove(task) {
                other.insert(*task);
            }
            let time = seconds(&other)?;
            if time < least {
                (least, set) = (time, other);
            }
        }
        if least >= before {
            return Ok((least, set));
        }
    }
}

/// Makes a recipe take metadata from a library that already exists.
pub(crate) fn take_from(recipe: &mut Recipe, library: &Node) {
    for output in library.outputs() {
        recipe.inputs.push(output.to_owned());
        recipe.derivation.env.insert(WHOLE.into(), output.into());
    }
    recipe.inputs.sort();
    recipe.inputs.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a library whose code takes long, a dependent that waits for its metadata, and other
    /// work.
    fn graph() -> Graph {
        let task = |name: &str, seconds, inputs: &[usize]| Task {
            name: name.into(),
            inputs: inputs.to_vec(),
            seconds,
        };
        Graph::new(vec![
            task("metadata", 2.0, &[]),
            task("library", 10.0, &[]),
            task("dependent", 9.0, &[0]),
            task("beside", 9.0, &[]),
            task("program", 1.0, &[1, 2, 3]),
        ])
        .unwrap()
    }

    /// Returns the tasks that wait, the inputs of the metadata task, and the seconds.
    fn choice(jobs: usize, chosen: &[usize]) -> (Vec<usize>, Vec<usize>, f64) {
        let graph = graph();
        let choice = Choice {
            graph: &graph,
            chosen: &chosen.iter().copied().collect(),
            libraries: &[(chosen[0], 21)].into(),
            order: Order::LongestPath,
            jobs,
        };
        let taken = choice.make(|library| library == 21).unwrap();
        let seconds = simulate(&taken.graph, Order::LongestPath, jobs).seconds;
        let inputs = taken.graph.tasks()[0].inputs.clone();
        (taken.from.into_keys().collect(), inputs, seconds)
    }

    #[test]
    fn metadata_is_made_where_cores_are_free_and_taken_where_they_are_not() {
        // With three cores, the dependent runs at the same time as the library: 2 + 9 + 1.
        let made = (vec![], vec![], 12.0);
        assert_eq!(choice(3, &[20, 21, 22, 23, 24]), made);
        // With one core, nothing is compiled twice.
        let (taken, inputs, seconds) = choice(1, &[20, 21, 22, 23, 24]);
        assert_eq!((taken, inputs), (vec![0], vec![1]));
        assert!((seconds - 29.0 - TAKING).abs() < 1e-9);
    }

    #[test]
    fn metadata_is_taken_from_a_library_that_is_there() {
        let (taken, inputs, _) = choice(3, &[20, 22, 23, 24, 25]);
        assert_eq!((taken, inputs), (vec![0], vec![]));
    }
}
