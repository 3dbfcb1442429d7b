//! Reminds of a flake.lock that Nix wrote, and git does not have yet.

use std::path::Path;

use crateyard_terminal::note;
use crateyard_workspace::git::GitRepository;

/// The file that Nix writes.
const FILE: &str = "flake.lock";

/// Prints a note if a commit would leave flake.lock out. Without it, other machines build with
/// other inputs, and `git stash` fails.
pub(crate) fn remind(workspace: &Path) {
    if let Some(text) = text(workspace) {
        note!("{text}");
    }
}

fn text(workspace: &Path) -> Option<String> {
    let repository = GitRepository::of(workspace)?;
    let place = workspace.join(FILE);
    if !place.is_file() || repository.holds(FILE) {
        return None;
    }
    let option = match repository.ignoring_line(FILE) {
        Some(_) => " --force",
        None => "",
    };
    let place = place.strip_prefix("./").unwrap_or(&place).display();
    Some(format!(
        "Nix wrote {place}, and a commit would leave it out\n  try: git add{option} {place}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_git_lacks_is_named_with_the_command() {
        let place = tempfile::tempdir().unwrap();
        let lock = place.path().join(FILE);
        std::fs::write(&lock, "{}").unwrap();
        assert_eq!(text(place.path()), None, "there is no repository");
        let git = |arguments: &[&str]| {
            let git = duct::cmd("git", arguments).dir(place.path());
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").run().unwrap();
        };
        git(&["init", "--quiet"]);
        git(&["add", "--intent-to-add", FILE]);
        let said = text(place.path()).unwrap();
        let cure = format!("git add {}", lock.display());
        assert!(said.ends_with(&cure), "{said}");
        git(&["add", FILE]);
        assert_eq!(text(place.path()), None);
    }
}
