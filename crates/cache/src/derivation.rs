//! Derivations: the files in the store that say how to build a path (ATerm, the same in all versions of Nix).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::path::StorePath;

/// What of a derivation decides which paths a build needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// Name of an output to its path.
    pub outputs: BTreeMap<String, StorePath>,
    /// Derivations whose outputs it needs.
    pub inputs: BTreeMap<StorePath, Vec<String>>,
    /// Whether its output is known by its content: a download.
    pub is_fixed: bool,
    /// The platform that it builds on; `builtin` for what Nix does itself.
    pub system: String,
}

/// Some derivations with all that they need.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Path of a derivation to its content.
    pub derivations: BTreeMap<StorePath, Derivation>,
}

impl Graph {
    /// Reads derivations and all that they need from the store below `root`.
    ///
    /// # Errors
    /// When one is missing or malformed.
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

    /// The outputs of everything but downloads, each with its derivation.
    pub fn built_outputs(&self) -> BTreeMap<StorePath, &StorePath> {
        self.outputs(|derivation| !derivation.is_fixed)
    }

    /// The outputs of downloads.
    pub fn downloads(&self) -> BTreeSet<StorePath> {
        self.outputs(|derivation| derivation.is_fixed)
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
    /// When it is missing or malformed.
    pub fn read(path: &StorePath, root: &Path) -> Result<Derivation> {
        let file = path.place(root);
        let bytes = std::fs::read(&file).map_err(Error::io("read", &file))?;
        Derivation::parse(&bytes).map_err(|at| Error::Damaged {
            place: file.display().to_string(),
            reason: format!("is no derivation: byte {at} is not what is expected there"),
        })
    }

    /// Reads a derivation; the error is the position of what was not expected.
    fn parse(bytes: &[u8]) -> std::result::Result<Derivation, usize> {
        let mut reader = Reader { bytes, position: 0 };
        reader.derivation().map_err(|Unexpected| reader.position)
    }
}

/// Something else than the format has there.
struct Unexpected;

type Read<T> = std::result::Result<T, Unexpected>;

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    fn derivation(&mut self) -> Read<Derivation> {
        self.literal("Derive(")?;
        let outputs = self.list(Self::output)?;
        self.literal(",")?;
        let inputs = self.list(Self::input)?;
        self.literal(",")?;
        self.list(Self::string)?;
        self.literal(",")?;
        let system = self.string()?;
        Ok(Derivation {
            is_fixed: outputs.iter().any(|(_, _, is_fixed)| *is_fixed),
            outputs: outputs
                .into_iter()
                .map(|(name, path, _)| (name, path))
                .collect(),
            inputs: inputs.into_iter().collect(),
            system,
        })
    }

    /// `(name, path, hash algorithm, hash)`.
    fn output(&mut self) -> Read<(String, StorePath, bool)> {
        self.literal("(")?;
        let name = self.string()?;
        self.literal(",")?;
        let path = self.path()?;
        self.literal(",")?;
        self.string()?;
        self.literal(",")?;
        let is_fixed = !self.string()?.is_empty();
        self.literal(")")?;
        Ok((name, path, is_fixed))
    }

    /// `(derivation, [output names])`.
    fn input(&mut self) -> Read<(StorePath, Vec<String>)> {
        self.literal("(")?;
        let path = self.path()?;
        self.literal(",")?;
        let names = self.list(Self::string)?;
        self.literal(")")?;
        Ok((path, names))
    }

    fn path(&mut self) -> Read<StorePath> {
        self.string()?.parse().map_err(|_| Unexpected)
    }

    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.literal("[")?;
        let mut elements = Vec::new();
        if self.next_is("]") {
            self.position += 1;
            return Ok(elements);
        }
        loop {
            elements.push(element(self)?);
            if self.next_is("]") {
                self.position += 1;
                return Ok(elements);
            }
            self.literal(",")?;
        }
    }

    fn string(&mut self) -> Read<String> {
        self.literal("\"")?;
        let mut text = Vec::new();
        loop {
            match self.take()? {
                b'"' => return String::from_utf8(text).map_err(|_| Unexpected),
                b'\\' => text.push(match self.take()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                }),
                byte => text.push(byte),
            }
        }
    }

    fn take(&mut self) -> Read<u8> {
        let byte = *self.bytes.get(self.position).ok_or(Unexpected)?;
        self.position += 1;
        Ok(byte)
    }

    fn next_is(&self, text: &str) -> bool {
        self.bytes[self.position..].starts_with(text.as_bytes())
    }

    fn literal(&mut self, text: &str) -> Read<()> {
        if !self.next_is(text) {
            return Err(Unexpected);
        }
        self.position += text.len();
        Ok(())
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
        assert!(!derivation.is_fixed);
        let fixed = text.replacen(r#""","")]"#, r#""sha256","00")]"#, 1);
        assert!(Derivation::parse(fixed.as_bytes()).unwrap().is_fixed);
    }

    #[test]
    fn what_is_cut_off_or_hostile_is_refused() {
        let good = TEXT.replace("\\\"", "");
        let end = good.find("x86_64").unwrap();
        for length in 0..end {
            assert!(Derivation::parse(&good.as_bytes()[..length]).is_err());
        }
        // A quotation mark is no part of a path.
        assert!(Derivation::parse(TEXT.as_bytes()).is_err());
    }
}
