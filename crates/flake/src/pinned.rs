//! Checks that a flake's inputs are pinned before Nix evaluates it.
//!
//! Nix 2.8 copies an input into the store before it finds that `flake.lock` does not name it, or
//! names another hash. The input may be a directory of this machine, and everybody can read the
//! store.
//!
//! An input from elsewhere can name such a directory in its own flake.nix. Nix reads that file if
//! the lock has another address for the input than the workspace's flake.nix, and copies the
//! directory. It does so, too, if flake.nix overrides an input of an input by an address. So the
//! lock must name each input exactly as flake.nix does, and nothing is overridden by an address.
//! For an input on this machine, the lock must have the hash of the content.

use super::place::{
    REMOTE_TYPES, check_relative, check_relative_input, hash_of, is_elsewhere, is_remote,
};
use super::{Nix, config::NixConfig, evaluation, inputs, reference, tree};
use anyhow::{Context, Result, bail, ensure};
use crateyard_nix::{Hash, Store};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// Nix's name for a source in the store.
pub(crate) const SOURCE: &str = "source";

/// Reads the inputs in flake.nix. Paths become strings, because Nix would copy the target of a
/// path.
const INPUTS: &str = r"
let
  flake = import <workspace/flake.nix>;
  plain = value:
    if builtins.isAttrs value then builtins.mapAttrs (_: plain) value
    else if builtins.isPath value then toString value
    else if builtins.isFunction value then null
    else value;
in {
  inputs = plain (flake.inputs or { });
  taken =
    if builtins.isFunction flake.outputs
    then builtins.attrNames (builtins.functionArgs flake.outputs)
    else [ ];
}
";

/// The inputs in flake.nix.
#[derive(Deserialize)]
struct Wanted {
    inputs: Map<String, Value>,
    /// The names that the outputs function takes.
    taken: Vec<String>,
}

/// Checks a workspace's flake.
///
/// # Errors
/// When the flake has an input that its lock does not pin, or can't be read.
pub(crate) fn expect(workspace: &Path, nix: &Nix) -> Result<()> {
    // If this user has evaluated the flake with this lock before, nothing has changed.
    if tree::may_lock(workspace) || tree::is_seen(workspace) {
        return Ok(());
    }
    check(workspace, workspace, nix)
}

/// Checks the flake.nix and flake.lock in a directory. Their relative paths start from the
/// workspace.
///
/// # Errors
/// When they have an input that the lock does not pin, or can't be read.
pub(crate) fn check(files: &Path, workspace: &Path, nix: &Nix) -> Result<()> {
    let lock = lock(files)?;
    let nodes = nodes(&lock)?;
    let store = Store::new(nix.store.clone());
    for (name, node) in &nodes {
        let is_pinned = check_locked(&node["locked"], workspace, &store);
        is_pinned.with_context(|| format!("flake.lock does not pin its node {name:?}"))?;
    }
    let wanted = wanted(files, &nix.config()?)?;
    for (name, input) in &wanted.inputs {
        check_overrides(&[name], input)?;
        check_wanted(input, &nodes, workspace)?;
    }
    let root = &lock["nodes"][lock["root"].as_str().unwrap_or_default()]["inputs"];
    let none = Map::new();
    let names = wanted.inputs.keys().chain(&wanted.taken);
    for name in names.filter(|name| *name != "self") {
        let input = wanted.inputs.get(name).and_then(Value::as_object);
        let input = input.unwrap_or(&none);
        let original = Original::of(name, input)?;
        if let Err(reason) = check_named(name, input, &original, root, &lock) {
            let not_locked = super::not_locked(&workspace.display().to_string());
            bail!("{not_locked}\n  {reason:#}");
        }
    }
    Ok(())
}

/// Refuses an override of an input's input by an address, however deep: Nix fetches it again and
/// reads its flake.nix, even if the lock names it. `flake = false` of an override does not count:
/// Nix asks the lock whether to read it as a flake. `names` leads to the input.
fn check_overrides(names: &[&str], input: &Value) -> Result<()> {
    let overrides = input.get("inputs").and_then(Value::as_object);
    for (inner, own) in overrides.into_iter().flatten() {
        let name = names.join("/");
        let names = [names, &[inner.as_str()]].concat();
        ensure!(
            own.get("url").or(own.get("type")).is_none(),
            "the input {inner:?} of {name:?} is overridden by an address, and Nix would fetch it \
             again\n  try: an input of flake.nix with this address, and inputs.{}.follows",
            names.join(".inputs.").escape_debug()
        );
        check_overrides(&names, own)?;
    }
    Ok(())
}

/// The ways in which the lock may name an input. Nix fetches the input again if its attribute
/// `original` is another one.
enum Original {
    /// Not at all: the input follows another one.
    Follows,
    /// In any way, because the content is not read as a flake, and lies elsewhere or in the
    /// repository.
    Any,
    /// By one of these references.
    OneOf(Vec<Map<String, Value>>),
}

impl Original {
    /// # Errors
    /// When Nix, or another version of it, would read the address in a way that is not known here.
    fn of(name: &str, input: &Map<String, Value>) -> Result<Self> {
        if input.contains_key("follows") {
            return Ok(Self::Follows);
        }
        let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
        // With a type, `url` is not an address of a flake, but an attribute.
        let url = match input.get("type") {
            None => text("url"),
            Some(_) => "",
        };
        let is_content = input.get("flake") == Some(&false.into());
        let is_own = url.strip_prefix("path:").unwrap_or(url).starts_with('.');
        // Escapes are read differently.
        let is_own = is_own && !url.contains(['%', '#']);
        if is_content && (is_own || is_elsewhere(input)) {
            return Ok(Self::Any);
        }
        // Nix 2.8 makes a path in the store of it, which is another one for each commit.
        ensure!(
            !url.starts_with('.'),
            "the input {name:?} is {url:?}, which Nix can't keep in flake.lock\n  try: url = {:?}; \
             then {}",
            format!("path:{url}"),
            crate::LOCK_COMMAND
        );
        let attributes = |texts: [(&str, &str); 2]| {
            Map::from_iter(texts.map(|(name, value)| (name.to_owned(), value.into())))
        };
        // Nix makes a repository of a path that is one.
        if url.starts_with('/') {
            let repository = format!("file://{url}");
            return Ok(Self::OneOf(vec![
                attributes([("type", "path"), ("path", url)]),
                attributes([("type", "git"), ("url", &repository)]),
            ]));
        }
        let named = reference::attributes(name, input).with_context(|| {
            format!(
                "the input {name:?} has the address {url:?}, and versions of Nix read its scheme, \
                 parameters or escapes in different ways\n  try: attributes, such as {{ type = \
                 \"git\"; url = \"https://…\"; submodules = true; }}"
            )
        })?;
        Ok(Self::OneOf(vec![named]))
    }
}

/// Checks that a node's inputs in the lock name an input as flake.nix does. Otherwise Nix would
/// fetch the input again, and read its flake.nix.
fn check_named(
    name: &str,
    input: &Map<String, Value>,
    original: &Original,
    inputs: &Value,
    lock: &Value,
) -> Result<()> {
    let none = Map::new();
    let locked = &inputs[name];
    ensure!(
        !locked.is_null(),
        "the lock does not have the input {name:?}"
    );
    let node = &lock["nodes"][locked.as_str().unwrap_or_default()];
    let found = node["original"].as_object().unwrap_or(&none);
    let is_same = match original {
        Original::Follows => return Ok(()),
        Original::Any => !found.is_empty(),
        Original::OneOf(originals) => originals.contains(found),
    };
    ensure!(is_same, "the lock has another place for the input {name:?}");
    let own = input.get("inputs").unwrap_or(&Value::Null);
    for (inner, locked) in node["inputs"].as_object().unwrap_or(&none) {
        ensure!(
            locked.is_string() || own[inner].get("follows").is_some(),
            "in the lock, the input {inner:?} of {name:?} follows another one"
        );
    }
    Ok(())
}

/// Reads the lock. A missing lock counts as one without inputs.
pub(crate) fn lock(workspace: &Path) -> Result<Value> {
    let text = inputs::text(workspace)?;
    serde_json::from_str(&text).with_context(|| inputs::unreadable(workspace))
}

/// Returns the nodes of a lock without its root.
pub(crate) fn nodes(lock: &Value) -> Result<Vec<(&String, &Value)>> {
    let nodes = lock["nodes"]
        .as_object()
        .context("flake.lock has no nodes")?;
    Ok(nodes
        .iter()
        .filter(|(name, _)| lock["root"] != **name)
        .collect())
}

fn wanted(workspace: &Path, config: &NixConfig) -> Result<Wanted> {
    let here = workspace.canonicalize()?;
    let mut arguments = ["eval", "--json"].map(Into::into).to_vec();
    arguments.extend(evaluation::confined("workspace", &here.to_string_lossy()));
    arguments.extend(["--expr", INPUTS].map(Into::into));
    let output = super::call(&config.nix, &config.text, arguments)
        .stderr_capture()
        .run()
        .context("cannot start nix")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "cannot read the inputs of {}: {}",
            workspace.join("flake.nix").display(),
            crateyard_nix::said::cause(&said)
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Checks a locked node: a node on this machine must have the content that the lock pins.
fn check_locked(locked: &Value, workspace: &Path, store: &Store) -> Result<()> {
    let text = |name: &str| locked[name].as_str().unwrap_or_default();
    let kind = text("type");
    if REMOTE_TYPES.contains(&kind) {
        return Ok(());
    }
    let place = match kind {
        "path" => text("path"),
        _ => text("url"),
    };
    if kind == "path" && !place.starts_with('/') {
        return check_relative(place, workspace);
    }
    if kind != "path" && is_remote(place) {
        return Ok(());
    }
    // A commit hash of a repository can't be guessed.
    if kind == "git" && text("rev").len() >= 40 {
        return Ok(());
    }
    let hash: Hash = text("narHash")
        .parse()
        .with_context(|| format!("{place} lies on this machine, and has no hash in it"))?;
    if store.has_tree(SOURCE, &hash) || (kind == "path" && hash_of(place)? == hash) {
        return Ok(());
    }
    bail!(
        "{place} lies on this machine, and is not what the lock has the hash of\n  \
         try: nix flake update, if you trust this repository with it"
    )
}

/// Checks an input of flake.nix: the lock must name a local input exactly as flake.nix does.
fn check_wanted(input: &Value, nodes: &[(&String, &Value)], workspace: &Path) -> Result<()> {
    let Some(input) = input.as_object() else {
        return Ok(());
    };
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let (kind, place) = match (text("type"), text("url"), text("path")) {
        (Some(kind), _, _) if REMOTE_TYPES.contains(&kind) => return Ok(()),
        (Some("path"), _, Some(path)) => ("path", path),
        (Some(kind), Some(url), _) => (kind, url),
        (Some(kind), _, _) => bail!("an input of flake.nix has the type {kind:?} and no place"),
        (None, Some(url), _) if url.starts_with("path:") => ("path", &url["path:".len()..]),
        (None, Some(url), _) if url.starts_with(['/', '.']) => ("path", url),
        (None, Some(url), _) => ("", url),
        // The input follows another input, or comes from a registry.
        (None, None, _) => return Ok(()),
    };
    if kind != "path" && is_remote(place) {
        return Ok(());
    }
    if kind == "path" && !place.starts_with('/') {
        return check_relative_input(place, workspace);
    }
    let address = place.strip_prefix("git+").unwrap_or(place);
    let address = address.split('?').next().unwrap_or_default();
    let is_named = |original: &Value| match original["type"].as_str() {
        Some("path") => original["path"] == *place,
        _ => original["url"] == *address || original["url"] == format!("file://{address}"),
    };
    ensure!(
        nodes.iter().any(|(_, node)| is_named(&node["original"])),
        "{}\n  the input {place:?} lies on this machine",
        super::not_locked(&workspace.display().to_string())
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expect_named(name: &str, input: &Value, inputs: &Value, lock: &Value) -> Result<()> {
        let none = Map::new();
        let input = input.as_object().unwrap_or(&none);
        check_named(name, input, &Original::of(name, input)?, inputs, lock)
    }

    #[test]
    fn a_path_must_be_what_the_lock_has_the_hash_of() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(Some(directory.path().join("store").display().to_string()));
        let check = |locked: Value| check_locked(&locked, directory.path(), &store);
        let path = directory.path().to_str().unwrap();
        let hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(check(json!({ "type": "path", "path": path, "narHash": hash })).is_err());
        assert!(check(json!({ "type": "path", "path": path })).is_err());
        assert!(
            check(json!({ "type": "file", "url": "file:///etc/passwd", "narHash": hash })).is_err()
        );
        assert!(check(json!({ "type": "path", "path": "../" })).is_err());
        assert!(check(json!({ "type": "path", "path": "./" })).is_ok());
        assert!(check(json!({ "type": "github", "owner": "a" })).is_ok());
        assert!(check(json!({ "type": "git", "url": "https://git.example/a" })).is_ok());
    }

    #[test]
    fn the_lock_names_a_path_as_the_flake_does() {
        let name = String::new();
        let node = json!({ "original": { "type": "path", "path": "/a" } });
        let nodes = [(&name, &node)];
        let check = |input: Value| check_wanted(&input, &nodes, Path::new("."));
        assert!(check(json!({ "url": "path:/a" })).is_ok());
        assert!(check(json!({ "type": "path", "path": "/a", "flake": false })).is_ok());
        assert!(check(json!({ "url": "path:/b" })).is_err());
        assert!(check(json!({ "url": "path:/a?lastModified=1" })).is_err());
        assert!(check(json!({ "url": "git+file:///a" })).is_err());
        assert!(check(json!({ "follows": "b" })).is_ok());
        assert!(check(json!({ "url": "github:a/b" })).is_ok());
    }

    #[test]
    fn nothing_is_overridden_by_an_address() {
        let check = |inner: Value| {
            check_overrides(
                &["a"],
                &json!({ "url": "github:a/a", "inputs": { "b": inner } }),
            )
        };
        assert!(check(json!({ "follows": "x" })).is_ok());
        assert!(check(json!({ "inputs": { "c": { "follows": "x" } } })).is_ok());
        for inner in [
            json!({ "url": "github:a/b" }),
            json!({ "url": "github:a/b", "flake": false }),
            json!({ "type": "github", "owner": "a", "repo": "b" }),
        ] {
            assert!(check(inner.clone()).is_err(), "{inner}");
            let deep = json!({ "follows": "x", "inputs": { "c": inner } });
            let error = check(deep).unwrap_err().to_string();
            assert!(error.contains("the input \"c\" of \"a/b\""), "{error}");
            assert!(
                error.ends_with("inputs.a.inputs.b.inputs.c.follows"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_lock_names_a_path_of_the_repository_as_the_flake_does() {
        let original = json!({ "type": "path", "path": "./sub" });
        let lock = json!({ "nodes": { "a": { "original": original } } });
        let check = |input: Value| expect_named("a", &input, &json!({ "a": "a" }), &lock);
        assert!(check(json!({ "url": "path:./sub" })).is_ok());
        assert!(check(json!({ "type": "path", "path": "./sub" })).is_ok());
        assert!(check(json!({ "url": "path:./other", "flake": false })).is_ok());
        assert!(check(json!({ "url": "./sub", "flake": false })).is_ok());
        assert!(check(json!({ "url": "path:./%2e%2e/other", "flake": false })).is_err());
        assert!(check(json!({ "url": "path:./other" })).is_err());
        assert!(check(json!({ "url": "path:sub" })).is_err());
        assert!(check(json!({ "type": "path", "path": "./other" })).is_err());
        // It is an attribute, and no path of the repository.
        assert!(check(json!({ "type": "git", "url": "./sub", "flake": false })).is_err());
        let error = check(json!({ "url": "./sub" })).unwrap_err().to_string();
        assert!(error.contains("try: url = \"path:./sub\""), "{error}");
    }

    #[test]
    fn the_lock_names_each_input_as_the_flake_does() {
        let original = json!({ "type": "github", "owner": "a", "repo": "b" });
        let lock = json!({ "nodes": {
            "b": { "original": original },
            "follower": { "original": original, "inputs": { "c": ["b"], "d": "b" } },
        } });
        let inputs = json!({ "b": "b", "follower": "follower", "same": ["b"] });
        let check = |name: &str, input: Value| expect_named(name, &input, &inputs, &lock);
        assert!(check("b", json!({ "url": "github:a/b" })).is_ok());
        assert!(check("same", json!({ "follows": "b" })).is_ok());
        for url in [
            "github:a/c",
            "github:a/b/main",
            "git+https://h/b",
            "nixpkgs",
            "/b",
        ] {
            assert!(check("b", json!({ "url": url })).is_err(), "{url}");
        }
        assert!(check("b", Value::Null).is_err());
        assert!(check("absent", json!({ "url": "github:a/b" })).is_err());
        // The lock has it follow another input.
        assert!(check("same", json!({ "url": "github:a/b" })).is_err());
        let follower = |inner: Value| json!({ "url": "github:a/b", "inputs": inner });
        assert!(check("follower", follower(json!({}))).is_err());
        assert!(check("follower", follower(json!({ "c": { "follows": "b" } }))).is_ok());
    }
}
