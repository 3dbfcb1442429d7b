//! Turns derivations into tasks.

use crate::Result;
use crate::durations::Durations;
use crate::guessed_duration;
use crate::schedule::{Graph, Task};
use crateyard_nix::{Closure, Node, Store};
use crateyard_unit::METADATA;
use std::collections::{BTreeSet, HashMap};

/// Makes a graph of some derivations of a closure. Task N is the Nth of `chosen`. Durations are
/// remembered, or else guessed.
///
/// # Errors
/// Fails if a derivation depends on itself.
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
        seconds: known(node.name(), durations)
            .unwrap_or_else(|| guessed_duration::seconds(store, node) * durations.scale()),
    };
    let nodes = chosen.iter().map(|&node| &closure.nodes[node]);
    Graph::new(nodes.map(task).collect())
}

/// Returns the remembered duration. If metadata was always taken from the library, only the
/// library's duration is known, which gives an estimate.
fn known(name: &str, durations: &Durations) -> Option<f64> {
    durations.seconds(name).or_else(|| {
        let library = name.strip_suffix(METADATA)?;
        Some(guessed_duration::UNTIL_METADATA * durations.seconds(library)?)
    })
}
