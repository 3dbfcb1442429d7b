//! Metadata that is taken from libraries instead of made.
//!
//! A pipelined library has a unit for its metadata and one for the whole, which holds the same metadata. With cores to
//! spare, making metadata by itself lets others start early; with few, the compiler's way to it is only gone twice. So
//! on each machine the driver chooses, for each of them: the metadata unit is built as its derivation says, or it
//! waits for the library and takes the metadata out of it. The output has the same bytes.
//!
//! To take it, Nix is handed the derivation with one more input, which only those may do whom Nix trusts.

use crate::Result;
use crate::closure::{Closure, Node, Recipe};
use crate::kind::unit_of;
use crate::schedule::{Graph, Order, Task};
use crate::simulate::simulate;
use derivation::Derivation;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use unit::Action;

/// The variable that names the library to a unit's runner.
const WHOLE: &str = "whole";
/// How the names of metadata units end.
pub(crate) const METADATA: &str = "-metadata";
/// A cell that copies a few files.
const TAKING: f64 = 0.05;

/// Of metadata units (nodes of a closure), the libraries (nodes) that have the same metadata.
pub type Libraries = BTreeMap<usize, usize>;

/// Finds the libraries of those nodes that are metadata units.
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

/// What a library's two units have in common: all but their names and that one ends with the metadata.
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

/// What is to be built, of which some metadata may be taken.
pub struct Choice<'a> {
    /// All tasks as their derivations say.
    pub graph: &'a Graph,
    /// The nodes that the tasks build, in the tasks' order.
    pub chosen: &'a BTreeSet<usize>,
    /// Where metadata can be taken from.
    pub libraries: &'a Libraries,
    /// Which ready task starts next.
    pub order: Order,
    /// Builds at once.
    pub jobs: usize,
}

/// What was chosen.
pub struct Taken {
    /// The tasks; those that take wait for what they take from.
    pub graph: Graph,
    /// Of the tasks that take, the libraries' nodes.
    pub from: BTreeMap<usize, usize>,
}

impl Choice<'_> {
    /// Chooses so that all is done soonest; a library that is no task may be in the store.
    ///
    /// # Errors
    /// When a task waits for itself.
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

    /// The tasks that should wait for libraries that are to be built: the better of what is found when all of them do at
    /// first, and when none does.
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

    /// The tasks, of which some wait for their libraries. What takes from a library that is there waits for nothing.
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

/// Metadata tasks that can take.
#[derive(Default)]
struct Candidates {
    /// From a library that is a task: that, and its node.
    to_build: BTreeMap<usize, (usize, usize)>,
    /// From a library that is there: its node.
    there: BTreeMap<usize, usize>,
}

/// Moves tasks in and out of a set, one after another, as long as that makes it faster. Gives the seconds, too.
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

/// Has a metadata unit taken from a library that is there.
pub fn take_from(recipe: &mut Recipe, library: &Node) {
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

    /// A library whose code takes long, what waits for its metadata, and other work beside.
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

    /// The tasks that wait, the inputs of the metadata, and the seconds.
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
        // With three cores the dependent runs beside the library: 2 + 9 + 1.
        let made = (vec![], vec![], 12.0);
        assert_eq!(choice(3, &[20, 21, 22, 23, 24]), made);
        // One core goes no way twice.
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
