//! Derivations as tasks that take time.

use crate::Result;
use crate::closure::{Closure, Node, Store};
use crate::durations::Durations;
use crate::guess;
use crate::schedule::{Graph, Task};
use std::collections::{BTreeSet, HashMap};

/// Some derivations of a closure as a graph: task N is the Nth of `chosen`. How long one takes is
/// remembered, or else guessed.
///
/// # Errors
/// When a derivation depends on itself.
pub fn graph(
    store: &Store,
    closure: &Closure,
    chosen: &BTreeSet<usize>,
    durations: &Durations,
) -> Result<Graph> {
    let task_of: HashMap<usize, usize> = chosen.iter().copied().zip(0..).collect();
    let inputs = |node: &Node| {
        let inputs = node.inputs.iter();
        inputs
            .filter_map(|input| task_of.get(input).copied())
            .collect()
    };
    let task = |node: &Node| Task {
        name: node.name().to_owned(),
        inputs: inputs(node),
        seconds: durations
            .seconds(node.name())
            .unwrap_or_else(|| guess::seconds(store, node) * durations.scale()),
    };
    let nodes = chosen.iter().map(|&node| &closure.nodes[node]);
    Graph::new(nodes.map(task).collect())
}
