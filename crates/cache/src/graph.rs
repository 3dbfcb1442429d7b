//! A graph of derivations, with only what decides which paths a build needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::path::StorePath;

/// The parts of a derivation that decide which paths a build needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// Maps the name of each output to its path.
    pub outputs: BTreeMap<String, StorePath>,
    /// Maps each derivation that it needs to the names of the needed outputs.
    pub inputs: BTreeMap<StorePath, Vec<String>>,
    /// Whether it is a download.
    pub is_download: bool,
    /// The platform that it builds on, or `builtin` for builders inside Nix.
    pub system: String,
}

/// Derivations with all that they need.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Maps the path of each derivation to its content.
    pub derivations: BTreeMap<StorePath, Derivation>,
}

impl Graph {
    /// Reads derivations and all that they need from the store below `root`.
    ///
    /// # Errors
    /// Fails if one is missing or malformed.
    pub fn read(roots: &[StorePath], root: &Path) -> Result<Graph> {
        let mut graph = Graph::default();
        let mut open: Vec<StorePath> = roots.to_vec();
        while let Some(path) = open.pop() {
            if graph.derivations.contains_key(&path) {
                continue;
            }
            let derivation = Derivation::read(&path, root)?;
            open.extend(derivation.inputs.keys().cloned());
            graph.derivations.insert(path, derivation);
        }
        Ok(graph)
    }

    /// The outputs of all derivations except downloads, each with its derivation.
    pub fn built_outputs(&self) -> BTreeMap<StorePath, &StorePath> {
        self.outputs(|derivation| !derivation.is_download)
    }

    /// The outputs of downloads.
    pub fn downloads(&self) -> BTreeSet<StorePath> {
        self.outputs(|derivation| derivation.is_download)
            .into_keys()
            .collect()
    }

    fn outputs(&self, is_wanted: fn(&Derivation) -> bool) -> BTreeMap<StorePath, &StorePath> {
        let wanted = self.derivations.iter().filter(|(_, it)| is_wanted(it));
        wanted
            .flat_map(|(path, it)| it.outputs.values().map(move |out| (out.clone(), path)))
            .collect()
    }
}

impl Derivation {
    /// Reads a derivation from the store below `root`.
    ///
    /// # Errors
    /// Fails if the derivation is missing or malformed.
    pub fn read(path: &StorePath, root: &Path) -> Result<Derivation> {
        let file = path.place(root);
        let bytes = std::fs::read(&file).map_err(Error::io("read", &file))?;
        Derivation::parse(&bytes).map_err(|at| Error::Damaged {
            place: file.display().to_string(),
            reason: format!("is not a derivation: unexpected text at byte {at}"),
        })
    }

    /// Parses a derivation. The error is the position of the unexpected text.
    fn parse(bytes: &[u8]) -> std::result::Result<Derivation, usize> {
        let read = crateyard_derivation::parse(bytes).map_err(|(_, position)| position)?;
        let path = |text: &str| text.parse::<StorePath>().map_err(|_| 0usize);
        let outputs = read.outputs.iter();
        let inputs = read.input_derivations.iter();
        Ok(Derivation {
            is_download: read.is_download(),
            outputs: outputs
                .map(|(name, output)| Ok((name.clone(), path(&output.path)?)))
                .collect::<std::result::Result<_, usize>>()?,
            inputs: inputs
                .map(|(derivation, names)| Ok((path(derivation)?, names.clone())))
                .collect::<std::result::Result<_, usize>>()?,
            system: read.system,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"Derive([("out","/nix/store/2ac5dscnf2ghi143hiwb81b55zssyvnv-a\"b","","")],[("/nix/store/mj690r1wjqrh7l2hhf57p75lk02wpx6j-plan.drv",["out"])],["/nix/store/qaqwsh5ij87cg72mjw0ldp8ifsfhkc76-seed"],"x86_64-linux","/b",["unpack"],[("name","a")])"#;

    #[test]
    fn outputs_and_inputs_are_read() {
        let text = TEXT.replace("\\\"", "");
        let derivation = Derivation::parse(text.as_bytes()).unwrap();
        assert_eq!(derivation.outputs["out"].name(), "ab");
        assert_eq!(derivation.inputs.len(), 1);
        assert_eq!(derivation.system, "x86_64-linux");
        assert!(!derivation.is_download);
        let fixed = text.replacen(r#""","")]"#, r#""sha256","00")]"#, 1);
        assert!(!Derivation::parse(fixed.as_bytes()).unwrap().is_download);
        let download = fixed.replacen("x86_64-linux", "builtin", 1);
        assert!(Derivation::parse(download.as_bytes()).unwrap().is_download);
    }

    #[test]
    fn what_is_cut_off_or_hostile_is_refused() {
        let good = TEXT.replace("\\\"", "");
        let end = good.find("x86_64").unwrap();
        for length in 0..end {
            assert!(Derivation::parse(&good.as_bytes()[..length]).is_err());
        }
        // A path holds no quotation mark.
        assert!(Derivation::parse(TEXT.as_bytes()).is_err());
    }
}
