//! The inputs in a flake's lock, each with its hash.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A lock without inputs, in the form that Nix reads.
pub(crate) const EMPTY: &str = r#"{"root":"root","nodes":{"root":{}}}"#;
/// The attributes of a locked reference that Nix passes on to the source.
const TOLD: [&str; 4] = ["narHash", "rev", "revCount", "lastModified"];
/// The number of digits in a short revision.
const SHORT: usize = 7;

/// The content of a flake's lock, as JSON texts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// The lock itself.
    pub lock: String,
    /// For each node of the lock, the attributes of its source.
    pub sources: String,
}

impl Inputs {
    /// Reads the lock in a directory. A missing lock counts as one without inputs. Returns `None`
    /// if an input has no hash.
    ///
    /// # Errors
    /// When the lock can't be read, or is malformed.
    pub(crate) fn locked(directory: &Path) -> Result<Option<Self>> {
        Self::parse(&text(directory)?).with_context(|| unreadable(directory))
    }

    fn parse(text: &str) -> Result<Option<Self>> {
        let lock: Value = serde_json::from_str(text)?;
        let nodes = lock["nodes"].as_object().context("it has no nodes")?;
        let inputs = nodes.iter().filter(|(name, _)| lock["root"] != **name);
        let source =
            |(name, node): (&String, &Value)| Some((name.clone(), source(&node["locked"])?));
        let sources: Option<Map<String, Value>> = inputs.map(source).collect();
        Ok(sources.map(|sources| Self {
            lock: lock.to_string(),
            sources: Value::Object(sources).to_string(),
        }))
    }
}

/// Reads the lock in a directory. A missing lock counts as one without inputs.
///
/// # Errors
/// When the lock can't be read, or is empty.
pub(crate) fn text(directory: &Path) -> Result<String> {
    let text = match fs::read_to_string(directory.join("flake.lock")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(EMPTY.to_owned()),
        read => read.with_context(|| unreadable(directory))?,
    };
    let place = directory.join("flake.lock");
    let place = place.strip_prefix("./").unwrap_or(&place).display();
    ensure!(
        !text.trim().is_empty(),
        "{place} is empty, so it names no input\n  try: git checkout {place}; if no commit has it: \
         rm {place}, then assemble fetch"
    );
    Ok(text)
}

/// Says that the lock in a directory can't be read.
pub(crate) fn unreadable(directory: &Path) -> String {
    format!("cannot read {}", directory.join("flake.lock").display())
}

/// Returns the attributes that Nix gives a source besides its store path, or `None` if its hash is
/// unknown.
///
/// See `emitTreeAttrs` in Nix's `primops/fetchTree.cc`.
fn source(locked: &Value) -> Option<Value> {
    let told = TOLD.iter().filter_map(|&name| {
        let value = locked.get(name)?;
        Some((name.to_owned(), value.clone()))
    });
    let mut source: Map<String, Value> = told.collect();
    source.get("narHash")?.as_str()?;
    if let Some(rev) = locked["rev"].as_str() {
        let short: String = rev.chars().take(SHORT).collect();
        source.insert("shortRev".to_owned(), short.into());
    }
    if let Some(time) = locked["lastModified"].as_u64() {
        let date = crateyard_text::time::timestamp(time).replace(['T', 'Z'], "");
        source.insert("lastModifiedDate".to_owned(), date.into());
    }
    if locked["type"] == "git" {
        let submodules = locked["submodules"].as_bool().unwrap_or(false);
        source.insert("submodules".to_owned(), submodules.into());
    }
    Some(source.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_source_is_told_of_as_nix_does() {
        let locked = json!({
            "type": "git", "url": "https://git.example/a", "narHash": "sha256-AA=",
            "lastModified": 1_700_000_000,
            "rev": "0123456789abcdef", "revCount": 3, "ref": "main",
        });
        let expected = json!({
            "narHash": "sha256-AA=", "lastModified": 1_700_000_000,
            "lastModifiedDate": "20231114221320",
            "rev": "0123456789abcdef", "shortRev": "0123456", "revCount": 3, "submodules": false,
        });
        assert_eq!(source(&locked), Some(expected));
    }

    #[test]
    fn an_empty_lock_is_refused_with_the_next_step() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(text(place.path()).unwrap(), EMPTY);
        fs::write(place.path().join("flake.lock"), "\n").unwrap();
        let said = text(place.path()).unwrap_err().to_string();
        assert!(said.contains("flake.lock is empty"), "{said}");
        assert!(said.ends_with("then assemble fetch"), "{said}");
    }

    #[test]
    fn an_input_without_a_hash_is_none() {
        let lock = |locked: Value| {
            let nodes = json!({ "root": { "inputs": { "a": "a" } }, "a": { "locked": locked } });
            let lock = json!({ "root": "root", "nodes": nodes }).to_string();
            Inputs::parse(&lock).unwrap()
        };
        assert!(lock(json!({ "type": "path", "path": "/etc" })).is_none());
        let known = lock(json!({ "type": "path", "path": "/a", "narHash": "sha256-AA=" })).unwrap();
        assert_eq!(known.sources, r#"{"a":{"narHash":"sha256-AA="}}"#);
        assert_eq!(Inputs::parse(EMPTY).unwrap().unwrap().sources, "{}");
    }
}
