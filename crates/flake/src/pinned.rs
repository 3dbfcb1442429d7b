//! Checks that a flake's inputs are pinned before Nix evaluates it.
//!
//! Nix 2.8 copies an input into the store before it finds that `flake.lock` does not name it, or
//! names another hash. The input may be a directory of this machine, and everybody can read the
//! store.
//!
//! It also reads the flake.nix of an input from elsewhere if the lock names that input in another
//! way than the workspace's flake.nix does, and copies the directories that are inputs there. So
//! the lock must name each input exactly as flake.nix does. For an input on this machine, it must
//! have the hash of the content.

use super::{Nix, config::NixConfig, evaluation, reference, tree};
use anyhow::{Context, Result, bail, ensure};
use crateyard_nix::{Hash, Store, environment};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The prefixes of references to other machines. All other references count as local.
const REMOTE: [&str; 13] = [
    "github:",
    "gitlab:",
    "sourcehut:",
    "flake:",
    "https:",
    "http:",
    "tarball+https:",
    "tarball+http:",
    "file+https:",
    "git+https:",
    "git+http:",
    "git+ssh:",
    "hg+https:",
];
/// The types of references to other machines.
const REMOTE_TYPES: [&str; 4] = ["github", "gitlab", "sourcehut", "indirect"];
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
  taken = if builtins.isFunction flake.outputs then builtins.attrNames (builtins.functionArgs flake.outputs) else [ ];
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
    let not_locked = || super::not_locked(&workspace.display().to_string());
    for input in wanted.inputs.values() {
        check_wanted(input, &nodes, workspace)?;
    }
    let root = &lock["nodes"][lock["root"].as_str().unwrap_or_default()]["inputs"];
    let names = wanted.inputs.keys().chain(&wanted.taken);
    for name in names.filter(|name| *name != "self") {
        let input = wanted.inputs.get(name).unwrap_or(&Value::Null);
        if let Err(reason) = check_named(name, input, root, &lock) {
            bail!("{}\n  {reason:#}", not_locked());
        }
    }
    Ok(())
}

/// Checks that a node's inputs in the lock name an input as flake.nix does. Otherwise Nix would
/// fetch the input again, and read its flake.nix.
fn check_named(name: &str, input: &Value, inputs: &Value, lock: &Value) -> Result<()> {
    let none = Map::new();
    let input = input.as_object().unwrap_or(&none);
    let locked = &inputs[name];
    ensure!(
        !locked.is_null(),
        "the lock does not have the input {name:?}"
    );
    if input.contains_key("follows") {
        return Ok(());
    }
    let node = &lock["nodes"][locked.as_str().unwrap_or_default()];
    let original = node["original"].as_object().unwrap_or(&none);
    let is_same = is_same(name, input, original)?;
    ensure!(is_same, "the lock has another place for the input {name:?}");
    let own = input
        .get("inputs")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    for (inner, locked) in node["inputs"].as_object().unwrap_or(&none) {
        match own.get(inner) {
            Some(own) if own.get("url").or(own.get("type")).is_some() => {
                check_named(inner, own, &node["inputs"], lock)?;
            }
            Some(own) if own.get("follows").is_some() => {}
            _ => ensure!(
                locked.is_string(),
                "in the lock, the input {inner:?} of {name:?} follows another one"
            ),
        }
    }
    Ok(())
}

/// Whether an input is the `original` of its node in the lock.
fn is_same(name: &str, input: &Map<String, Value>, original: &Map<String, Value>) -> Result<bool> {
    let url = input.get("url").and_then(Value::as_str).unwrap_or_default();
    let is = |name: &str, value: &str| original.get(name) == Some(&value.into());
    // Nix makes a repository of a path that is one.
    if url.starts_with('/') {
        let is_repository = is("type", "git") && is("url", &format!("file://{url}"));
        let is_path = is("type", "path") && is("path", url);
        return Ok(original.len() == 2 && (is_path || is_repository));
    }
    // A path of the repository itself, and content that is not read as a flake.
    let is_content = input.get("flake") == Some(&false.into()) && is_elsewhere(input);
    if url.starts_with('.') || url.starts_with("path:.") || is_content {
        return Ok(!original.is_empty());
    }
    let named = reference::attributes(name, input).with_context(|| {
        format!(
            "versions of Nix read the parameters or escapes of {url:?} in different ways\n  \
             try: attributes, such as {{ type = \"git\"; url = \"https://…\"; submodules = true; }}"
        )
    })?;
    Ok(named == *original)
}

/// Whether an input is fetched from another machine.
fn is_elsewhere(input: &Map<String, Value>) -> bool {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    REMOTE_TYPES.contains(&text("type")) || is_remote(text("url"))
}

/// Reads the lock. A missing lock counts as one without inputs.
pub(crate) fn lock(workspace: &Path) -> Result<Value> {
    let file = workspace.join("flake.lock");
    let context = || format!("cannot read {}", file.display());
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(serde_json::from_str(super::inputs::EMPTY)?)
        }
        read => serde_json::from_str(&read.with_context(context)?).with_context(context),
    }
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

/// Checks an input of flake.nix and the inputs that it overrides: the lock must name local inputs
/// exactly as flake.nix does.
fn check_wanted(input: &Value, nodes: &[(&String, &Value)], workspace: &Path) -> Result<()> {
    let Some(input) = input.as_object() else {
        return Ok(());
    };
    for inner in input
        .get("inputs")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        check_wanted(inner.1, nodes, workspace)?;
    }
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
        return check_relative(place, workspace);
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

/// Checks that a path in the workspace does not lead out of it.
fn check_relative(path: &str, workspace: &Path) -> Result<()> {
    let here = workspace.canonicalize()?;
    let top = crateyard_workspace::git::GitRepository::of(&here)
        .map_or(here.clone(), |repository| repository.top);
    let path = path.split('?').next().unwrap_or_default();
    match here.join(path).canonicalize() {
        Ok(place) if !place.starts_with(&top) => bail!(
            "the input {path:?} of flake.nix leads to {}, outside of the repository",
            place.display()
        ),
        // Nothing can be copied from a missing path.
        _ => Ok(()),
    }
}

/// Whether a reference leads to another machine, or names a flake of a registry.
fn is_remote(url: &str) -> bool {
    let is_address = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    let has_scheme = url.starts_with("ssh:") || REMOTE.iter().any(|scheme| url.starts_with(scheme));
    is_name(url) || has_scheme && url.chars().all(is_address)
}

/// Whether a reference names a flake of a registry, and perhaps a version: `nixpkgs/nixos-25.05`.
/// Nix takes any other text without a scheme for a path, such as `a/../../b`.
fn is_name(url: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let (id, version) = url.split_once('/').unwrap_or((url, "main"));
    let mut words = version.split('/');
    id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.chars().all(is_letter)
        && words.all(|word| word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@'))
        && version.chars().all(|c| is_letter(c) || "./@".contains(c))
}

/// Hashes a path as a Nix archive.
fn hash_of(path: &str) -> Result<Hash> {
    let output = environment::nix("nix")
        .args(["--extra-experimental-features", "nix-command"])
        .args(["hash", "path", path])
        .output()
        .context("cannot start nix")?;
    let hash = String::from_utf8_lossy(&output.stdout).trim().parse();
    hash.with_context(|| format!("cannot read {path}, which flake.lock names"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_to_this_machine_are_known() {
        for remote in [
            "github:a/b",
            "git+https://git.example/a",
            "https://x.example/a.tar.gz",
            "nixpkgs",
            "nixpkgs/nixos-25.05",
        ] {
            assert!(is_remote(remote), "{remote}");
        }
        for local in [
            "path:/etc",
            "/etc",
            "./a",
            "",
            "file:///etc/shadow",
            "git+file:///home/a",
            "tarball+file:///a",
            "$Format:path:$/home/a",
            "a/../../b",
            "a/b/../../c",
            "a.b/../../c",
            "github: /../../c",
        ] {
            assert!(!is_remote(local), "{local}");
        }
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
        assert!(check(json!({ "inputs": { "x": { "url": "path:/b" } } })).is_err());
        assert!(check(json!({ "follows": "b" })).is_ok());
        assert!(check(json!({ "url": "github:a/b" })).is_ok());
    }

    #[test]
    fn the_lock_names_each_input_as_the_flake_does() {
        let original = json!({ "type": "github", "owner": "a", "repo": "b" });
        let lock = json!({ "nodes": {
            "b": { "original": original },
            "follower": { "original": original, "inputs": { "c": ["b"], "d": "b" } },
        } });
        let inputs = json!({ "b": "b", "follower": "follower", "same": ["b"] });
        let check = |name: &str, input: Value| check_named(name, &input, &inputs, &lock);
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
        let inner = |url: &str| json!({ "c": { "follows": "b" }, "d": { "url": url } });
        assert!(check("follower", follower(inner("github:a/b"))).is_ok());
        assert!(check("follower", follower(inner("github:a/c"))).is_err());
    }
}
