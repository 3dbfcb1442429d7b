//! Closures of derivations.

use crate::{Error, Result};
use crateyard_derivation::Derivation;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// A store, for reading its files.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// The value of `--store`. `None` for the machine's own store.
    pub uri: Option<String>,
}

impl Store {
    /// Whether it is a directory on this machine, but not the machine's own store.
    pub fn is_elsewhere(&self) -> bool {
        let uri = self.uri.as_deref().unwrap_or_default();
        uri.starts_with('/') || uri.starts_with('.') || uri.starts_with("local?")
    }

    /// The path on the disk of a store path. A store in a directory has `/nix/store` below it.
    pub fn physical(&self, path: &str) -> PathBuf {
        match &self.uri {
            Some(root) if root.starts_with('/') => {
                Path::new(root).join(path.trim_start_matches('/'))
            }
            _ => PathBuf::from(path),
        }
    }
}

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
    /// The derivation's name.
    pub fn name(&self) -> &str {
        name_of(&self.path)
    }

    /// The store paths of its outputs.
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
    pub(crate) fn is_text(&self) -> bool {
        let Derivation { args, env, .. } = &self.derivation;
        let texts = args.iter().chain(env.keys()).chain(env.values());
        !texts
            .into_iter()
            .any(|text| text.contains(char::REPLACEMENT_CHARACTER))
    }
}

/// `/nix/store/HASH-NAME.drv` gives `NAME`; so does an output's path.
pub fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once('-').map_or(file, |(_, name)| name);
    name.strip_suffix(".drv").unwrap_or(name)
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
                None => read(store, &path)?,
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

    /// All output paths.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().flat_map(Node::outputs)
    }

    /// Whether a derivation has a text in its arguments, its variables or its sources' names.
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

    /// The nodes to build or fetch for the roots' outputs: those with an output that is needed but
    /// missing. Leaves out nodes that are only needed to build existing outputs.
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

    /// The output paths of `input` that `node` needs.
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

    /// The recipe for one node, whose inputs must be valid.
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

/// Reads one `.drv` file.
///
/// # Errors
/// Fails if the file is missing or damaged, or if the paths of its outputs are not known yet.
pub fn read(store: &Store, path: &str) -> Result<Derivation> {
    let place = store.physical(path);
    let text = fs::read(&place).map_err(|source| Error::Unreadable {
        path: place.clone(),
        source,
    })?;
    let derivation =
        crateyard_derivation::parse(&text).map_err(|(message, position)| Error::Malformed {
            path: place,
            message,
            position,
        })?;
    if derivation.outputs.values().any(|o| o.path.is_empty()) {
        return Err(Error::FloatingOutput {
            path: path.to_owned(),
        });
    }
    Ok(derivation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crateyard_derivation::Output;

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

    #[test]
    fn names_come_from_paths() {
        assert_eq!(name_of("/nix/store/abc-serde-1.0.219.drv"), "serde-1.0.219");
        assert_eq!(name_of("/nix/store/abc-serde-1.0.219"), "serde-1.0.219");
    }
}
