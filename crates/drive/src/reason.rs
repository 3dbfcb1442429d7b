//! Explains why a derivation is built, by what has changed since the last build.

use crateyard_nix::{Closure, Derivation, Node, Store, name_of};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The reason why a derivation is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "names", rename_all = "kebab-case")]
pub enum Reason {
    /// The last build had no derivation of this name.
    New,
    /// The last build had the same derivation, but the store lacks its output: it failed, or was
    /// collected as garbage.
    Gone,
    /// Some derivations that it needs have changed. These are their names.
    Inputs(Vec<String>),
    /// The derivation itself has changed. These are the changed parts.
    Changed(Vec<String>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::New => f.write_str("new"),
            Self::Gone => f.write_str("known, but not in the store"),
            Self::Inputs(names) => write!(f, "inputs changed: {}", names.join(", ")),
            Self::Changed(what) => write!(f, "changed: {}", what.join(", ")),
        }
    }
}

/// Compares derivations with those of the last build.
pub struct Reasons<'a> {
    /// The store with both builds' derivations.
    pub store: &'a Store,
    /// The closure that is being built.
    pub closure: &'a Closure,
    /// The last build's derivations: name to `.drv` paths. Empty if there was no build.
    pub previous: &'a BTreeMap<String, Vec<String>>,
}

impl Reasons<'_> {
    /// Finds the reason why a node is built.
    pub fn of(&self, node: &Node) -> Reason {
        let Some(previous) = self.previous.get(node.name()) else {
            return Reason::New;
        };
        if previous.contains(&node.path) {
            return Reason::Gone;
        }
        // Several derivations may have the name: units of one package with different features.
        let candidates = previous.iter();
        let changes = candidates
            .filter_map(|path| self.store.derivation(path).ok())
            .map(|old| Changes::between(&old, &node.derivation))
            .min_by_key(|changes| (changes.own.len(), changes.inputs.len()));
        let changes = changes.unwrap_or_else(|| Changes {
            own: Vec::new(),
            inputs: self.unknown_inputs(node),
        });
        if changes.own.is_empty() && !changes.inputs.is_empty() {
            return Reason::Inputs(changes.inputs);
        }
        Reason::Changed(if changes.own.is_empty() {
            vec!["something unknown, because the old derivation is gone".to_owned()]
        } else {
            changes.own
        })
    }

    /// Returns the inputs that the last build lacked.
    fn unknown_inputs(&self, node: &Node) -> Vec<String> {
        let inputs = node.inputs.iter().map(|&input| &self.closure.nodes[input]);
        let is_known = |input: &Node| {
            let paths = self.previous.get(input.name());
            paths.is_some_and(|paths| paths.contains(&input.path))
        };
        let unknown = inputs.filter(|input| !is_known(input));
        let names: BTreeSet<String> = unknown.map(|input| input.name().to_owned()).collect();
        names.into_iter().collect()
    }
}

/// The differences between two derivations of one name.
struct Changes {
    own: Vec<String>,
    inputs: Vec<String>,
}

impl Changes {
    fn between(old: &Derivation, new: &Derivation) -> Self {
        let mut own = Vec::new();
        for (variable, text) in WHAT {
            if old.env.get(*variable) != new.env.get(*variable) {
                own.push((*text).to_owned());
            }
        }
        let inputs = new.input_derivations.keys();
        let changed: BTreeSet<&str> = inputs
            .filter(|path| !old.input_derivations.contains_key(*path))
            .map(|path| name_of(path))
            .collect();
        // A changed source that is a derivation's output was reported as an input.
        let source = new.env.get("source").map_or("", |path| name_of(path));
        let inputs: Vec<String> = changed
            .into_iter()
            .filter(|name| *name != source)
            .map(str::to_owned)
            .collect();
        if own.is_empty() && inputs.is_empty() {
            own.push("builder, arguments or variables".to_owned());
        }
        Self { own, inputs }
    }
}

/// Variables of units, layers and images, with their meaning for users.
const WHAT: &[(&str, &str)] = &[
    ("source", "source"),
    ("unit", "flags, features or environment"),
    ("extras", "files beside its source"),
    ("manifests", "manifests"),
    ("request", "the request to Cargo"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn derivation(source: &str, inputs: &[&str]) -> Derivation {
        Derivation {
            env: [("source".to_owned(), source.to_owned())].into(),
            input_derivations: inputs
                .iter()
                .map(|path| ((*path).to_owned(), vec!["out".to_owned()]))
                .collect(),
            ..Derivation::default()
        }
    }

    #[test]
    fn an_edit_is_told_from_what_follows_from_it() {
        let old = derivation("/nix/store/a-source", &["/nix/store/a-fleet-0.1.0.drv"]);
        let edited = derivation("/nix/store/b-source", &["/nix/store/a-fleet-0.1.0.drv"]);
        let above = derivation("/nix/store/a-source", &["/nix/store/b-fleet-0.1.0.drv"]);
        assert_eq!(Changes::between(&old, &edited).own, ["source"]);
        let changes = Changes::between(&old, &above);
        assert!(changes.own.is_empty());
        assert_eq!(changes.inputs, ["fleet-0.1.0"]);
    }
}
