//! Places of a flake's inputs: on this machine, in the repository or elsewhere.

use anyhow::{Context, Result, bail, ensure};
use crateyard_nix::{Hash, environment};
use crateyard_workspace::git::GitRepository;
use serde_json::{Map, Value};
use std::path::{Component, Path, PathBuf};

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
pub(crate) const REMOTE_TYPES: [&str; 4] = ["github", "gitlab", "sourcehut", "indirect"];

/// Whether an input is fetched from another machine.
pub(crate) fn is_elsewhere(input: &Map<String, Value>) -> bool {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    REMOTE_TYPES.contains(&text("type")) || is_remote(text("url"))
}

/// Whether a reference leads to another machine, or names a flake of a registry.
pub(crate) fn is_remote(url: &str) -> bool {
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

/// Checks that a relative path of flake.nix does not lead out of the repository. Nix reads it in a
/// copy of the repository in the store. There, the path and the links on it can lead to other
/// places than here.
pub(crate) fn check_relative_input(path: &str, workspace: &Path) -> Result<()> {
    let here = workspace.canonicalize()?;
    let top = top(&here);
    let path = path.split('?').next().unwrap_or_default();
    let leads = || format!("the input {path:?} of flake.nix leads outside of the repository");
    let mut place = here.clone();
    let mut depth = here
        .strip_prefix(&top)
        .map_or(0, |below| below.components().count());
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                depth = depth.checked_sub(1).with_context(leads)?;
                place.pop();
            }
            Component::Normal(name) => {
                depth += 1;
                place.push(name);
            }
            _ => {}
        }
        let is_inside = |place: PathBuf| place.starts_with(&top);
        ensure!(
            !place.is_symlink() || place.canonicalize().is_ok_and(is_inside),
            "{}, through the link {}",
            leads(),
            place.display()
        );
    }
    check_relative(path, workspace)
}

/// Returns the top of the repository around a directory, or the directory itself.
fn top(here: &Path) -> PathBuf {
    GitRepository::of(here).map_or(here.to_owned(), |repository| repository.top)
}

/// Checks that a path in the workspace does not lead out of it.
pub(crate) fn check_relative(path: &str, workspace: &Path) -> Result<()> {
    let here = workspace.canonicalize()?;
    let top = top(&here);
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

/// Hashes a path as a Nix archive.
pub(crate) fn hash_of(path: &str) -> Result<Hash> {
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
    fn a_path_of_the_repository_leads_out_neither_here_nor_in_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &str| {
            std::os::unix::fs::symlink(target, directory.path().join(name)).unwrap();
        };
        std::fs::create_dir(directory.path().join("sub")).unwrap();
        link("inside", "sub");
        link("outside", "/");
        link("nothing", "../../no/such/directory");
        link("above", "..");
        let check = |path: &str| check_relative_input(path, directory.path());
        for path in [
            "./sub",
            "./sub/../sub",
            "./missing",
            "./inside",
            "./inside/missing",
        ] {
            assert!(check(path).is_ok(), "{path}");
        }
        for path in [
            "../..",
            "./../../../no/such/directory",
            "./sub/../../no",
            "./outside",
            "./nothing",
            "./nothing/letters",
            "./above/no/such/directory",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
    }
}
