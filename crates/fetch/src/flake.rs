//! The flake beside a lock.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use crateyard_flake::{self as flake, Nix};
use crateyard_nix::Store;

use crate::git;

/// Returns the directory of a lock.
pub fn workspace_of(lock: &Path) -> &Path {
    match lock.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the flake beside a lock, if there is one.
pub(crate) fn flake_of(lock: &Path) -> Option<PathBuf> {
    let workspace = workspace_of(lock);
    let is_flake = workspace.join("flake.nix").exists();
    is_flake.then(|| workspace.to_owned())
}

/// Returns the arguments that evaluate an attribute of a flake, for [`git::evaluate`].
///
/// # Errors
/// When the flake must not be evaluated here.
pub(crate) fn attribute_of(flake: &Path, attribute: &str) -> Result<Vec<String>> {
    crateyard_workspace::git::check(flake)?;
    let mut arguments = vec![format!("{}#{attribute}", Nix::default().flake(flake)?)];
    arguments.extend(flake::locked(flake).into_iter().map(str::to_owned));
    Ok(arguments)
}

/// Returns the lock that a workspace builds with. If the workspace has none of its own, it is
/// Crateyard's, which the flake knows.
///
/// # Errors
/// When the flake can't be evaluated, or does not know the lock, or names another file than one of
/// the store.
pub fn lock_path(lock: &Path, attribute: &str) -> Result<PathBuf> {
    let flake = match flake_of(lock) {
        Some(flake) if !lock.exists() => flake,
        _ => return Ok(lock.to_owned()),
    };
    let told = git::evaluate(&attribute_of(&flake, attribute)?, None);
    let path = told.map_err(|error| {
        let why = explained(attribute, &format!("{error:#}"));
        error.context(why)
    })?;
    // If Nix wrote flake.lock, the file belongs to this user.
    flake::remember(&flake)?;
    in_store(&Store::default(), path.into()).with_context(|| format!("the flake's {attribute}"))
}

/// Says what is wrong with a flake that does not tell its lock. Most often evaluation fails for
/// another reason, such as inputs that can't be downloaded, and then flake.nix lacks no line.
fn explained(attribute: &str, error: &str) -> String {
    let lacks = error.contains("does not provide attribute")
        || error.contains(&format!("attribute '{attribute}' missing"));
    match lacks {
        true => format!(
            "the flake does not tell which lock it uses ({attribute}); `assemble init` prints the \
             lines that flake.nix may lack"
        ),
        false => format!("cannot evaluate the flake, which names the lock ({attribute})"),
    }
}

/// Checks a path that a flake names. The flake may be somebody else's, and evaluation reads nothing
/// of the machine. So nothing else may read it in its place, and quote it in an error.
///
/// # Errors
/// When the path, or what it leads to, is not in the store.
pub(crate) fn in_store(store: &Store, path: PathBuf) -> Result<PathBuf> {
    let shown = path.display();
    let own = Path::new(store.directory());
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    ensure!(
        path.starts_with(own) && path.components().all(is_plain),
        "{shown} is not a path in {}",
        own.display()
    );
    if let Ok(place) = path.canonicalize() {
        let metadata = place.metadata()?;
        ensure!(
            place.starts_with(own.canonicalize()?),
            "{shown} is a link to {}, which is not in the store",
            place.display()
        );
        ensure!(
            metadata.is_file() || metadata.is_dir(),
            "{shown} is not a regular file"
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flake_without_the_attribute_lacks_lines() {
        let said = |error| explained("debianLock", error);
        for lacking in [
            "flake 'git+file:///w' does not provide attribute 'packages.x86_64-linux.debianLock', \
             'legacyPackages.x86_64-linux.debianLock' or 'debianLock'",
            "attribute 'debianLock' missing",
        ] {
            assert!(said(lacking).contains("assemble init"), "{lacking}");
        }
        let network = "unable to download 'https://api.github.com/repos/a/b': Couldn't resolve \
                       host name (6)";
        assert!(!said(network).contains("assemble init"));
    }

    #[test]
    fn a_flake_names_files_of_the_store_alone() {
        let check =
            |path: &str| in_store(&Store::default(), path.into()).map_err(|it| it.to_string());
        assert!(check("/nix/store/aaaa-source/debian.lock").is_ok());
        for path in [
            "/etc/passwd",
            "/proc/self/environ",
            "debian.lock",
            "/nix/storage/a",
            "/nix/store/../../etc/passwd",
            "",
        ] {
            let said = check(path).unwrap_err();
            assert!(said.contains("is not a path in"), "{path}: {said}");
        }
    }
}
