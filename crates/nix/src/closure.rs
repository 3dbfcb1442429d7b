//! Closures of derivations.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{Derivation, Result, Store, StorePath, name_of};

/// A derivation in a closure.
#[derive(Clone, Debug)]
pub struct Node {
    /// The store path of its `.drv` file.
    pub path: String,
    /// The content of the file.
    pub derivation: Derivation,
    /// The nodes that it needs, by index.
    pub inputs: Vec<usize>,
}

impl Node {
    /// Returns the derivation's name.
    pub fn name(&self) -> &str {
        name_of(&self.path)
    }

    /// Returns the store paths of the derivation's outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        let outputs = self.derivation.outputs.values();
        outputs.map(|output| output.path.as_str())
    }
}

/// A derivation to build, with the inputs in the store.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The store path of its `.drv` file.
    pub path: String,
    /// The content of the file.
    pub derivation: Derivation,
    /// The store paths that its builder may use, sorted. They are valid.
    pub inputs: Vec<String>,
}

impl Recipe {
    /// Whether all of it is valid UTF-8. Otherwise only the file has the right bytes.
    pub fn is_text(&self) -> bool {
        let Derivation { args, env, .. } = &self.derivation;
        let texts = args.iter().chain(env.keys()).chain(env.values());
        !texts
            .into_iter()
            .any(|text| text.contains(char::REPLACEMENT_CHARACTER))
    }
}

/// A closure of derivations.
#[derive(Clone, Debug, Default)]
pub struct Closure {
    /// Every derivation, once.
    pub nodes: Vec<Node>,
    /// The requested derivations, by index.
    pub roots: Vec<usize>,
}

impl Closure {
    /// Reads the closure of `roots`, which are paths of `.drv` files.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged, or if the paths of its outputs are not known yet.
    pub fn read(store: &Store, roots: &[String]) -> Result<Self> {
        Self::read_with(store, roots, &HashMap::new())
    }

    /// Like [`Closure::read`]. `known` maps paths to derivations that were read before.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged, or if the paths of its outputs are not known yet.
    pub fn read_with(
        store: &Store,
        roots: &[String],
        read_before: &HashMap<String, Derivation>,
    ) -> Result<Self> {
        let mut closure = Self::default();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut pending: Vec<String> = roots.to_vec();
        while let Some(path) = pending.pop() {
            if known.contains_key(&path) {
                continue;
            }
            let derivation = match read_before.get(&path) {
                Some(derivation) => derivation.clone(),
                None => store.derivation(&path)?,
            };
            pending.extend(derivation.input_derivations.keys().cloned());
            known.insert(path.clone(), closure.nodes.len());
            closure.nodes.push(Node {
                path,
                derivation,
                inputs: Vec::new(),
            });
        }
        for node in &mut closure.nodes {
            let inputs = node.derivation.input_derivations.keys();
            node.inputs = inputs.map(|path| known[path]).collect();
        }
        closure.roots = roots.iter().map(|path| known[path]).collect();
        Ok(closure)
    }

    /// Returns all output paths.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().flat_map(Node::outputs)
    }

    /// Returns the outputs of all derivations that are built.
    ///
    /// # Errors
    /// Fails if one is not a store path.
    pub fn built_outputs(&self) -> Result<BTreeSet<StorePath>> {
        self.outputs_of(|derivation| !derivation.is_download())
    }

    /// Returns the outputs of all derivations that only download.
    ///
    /// # Errors
    /// Fails if one is not a store path.
    pub fn downloads(&self) -> Result<BTreeSet<StorePath>> {
        self.outputs_of(Derivation::is_download)
    }

    fn outputs_of(&self, is_wanted: fn(&Derivation) -> bool) -> Result<BTreeSet<StorePath>> {
        let nodes = self.nodes.iter().filter(|node| is_wanted(&node.derivation));
        nodes.flat_map(Node::outputs).map(str::parse).collect()
    }

    /// Whether any derivation has a text in its arguments, its variables or its sources' names.
    pub fn says(&self, text: &str) -> bool {
        self.nodes.iter().any(|node| {
            let said = &node.derivation;
            let texts = said
                .args
                .iter()
                .chain(said.env.values())
                .chain(&said.input_sources)
                .chain([&said.builder]);
            texts.into_iter().any(|said| said.contains(text))
        })
    }

    /// Returns the nodes to build or fetch for the roots' outputs: those with an output that is
    /// needed but missing. Leaves out nodes that are only needed to build existing outputs.
    pub fn missing(&self, valid: &BTreeSet<String>) -> BTreeSet<usize> {
        let mut missing = BTreeSet::new();
        let mut pending: Vec<(usize, Vec<&str>)> = self
            .roots
            .iter()
            .map(|&root| (root, self.nodes[root].outputs().collect()))
            .collect();
        while let Some((index, wanted)) = pending.pop() {
            if wanted.iter().all(|path| valid.contains(*path)) || !missing.insert(index) {
                continue;
            }
            for &input in &self.nodes[index].inputs {
                pending.push((input, self.used(&self.nodes[index], input)));
            }
        }
        missing
    }

    /// Returns the output paths of `input` that `node` needs.
    fn used(&self, node: &Node, input: usize) -> Vec<&str> {
        let input = &self.nodes[input];
        let names = &node.derivation.input_derivations[&input.path];
        let outputs = &input.derivation.outputs;
        names
            .iter()
            .filter_map(|name| outputs.get(name))
            .map(|output| output.path.as_str())
            .collect()
    }

    /// Makes the recipe for one node, whose inputs must be valid.
    pub fn recipe(&self, node: &Node) -> Recipe {
        let outputs = node.inputs.iter().flat_map(|&input| self.used(node, input));
        let sources = node.derivation.input_sources.iter().map(String::as_str);
        let inputs: BTreeSet<&str> = outputs.chain(sources).collect();
        Recipe {
            path: node.path.clone(),
            derivation: node.derivation.clone(),
            inputs: inputs.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Maps each name to its `.drv` paths, sorted.
    pub fn by_name(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in &self.nodes {
            let paths = all.entry(node.name().to_owned()).or_default();
            paths.push(node.path.clone());
        }
        all.values_mut().for_each(|paths| paths.sort());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derivation::Output;

    fn node(name: &str, inputs: &[usize]) -> Node {
        let output = Output {
            path: format!("/nix/store/o-{name}"),
            ..Output::default()
        };
        let path = |name: &str| format!("/nix/store/d-{name}.drv");
        let input = |index: &usize| (path(&index.to_string()), vec!["out".to_owned()]);
        Node {
            path: path(name),
            derivation: Derivation {
                outputs: [("out".to_owned(), output)].into(),
                input_derivations: inputs.iter().map(input).collect(),
                ..Derivation::default()
            },
            inputs: inputs.to_vec(),
        }
    }

    #[test]
    fn what_only_existing_outputs_need_is_not_missing() {
        // 0 needs 1 and 2; 2 needs 3.
        let nodes = vec![
            node("0", &[1, 2]),
            node("1", &[]),
            node("2", &[3]),
            node("3", &[]),
        ];
        let closure = Closure {
            nodes,
            roots: vec![0],
        };
        let valid = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|n| format!("/nix/store/o-{n}")).collect()
        };
        assert_eq!(closure.missing(&valid(&[])), [0, 1, 2, 3].into());
        assert_eq!(closure.missing(&valid(&["2"])), [0, 1].into());
        assert_eq!(closure.missing(&valid(&["0"])), BTreeSet::new());
    }
}
