//! What of a workspace git tracks. Of a repository Nix sees nothing else.

use anyhow::{Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Without these Nix can't evaluate a workspace. With the command that writes each.
const NEEDED: [(&str, &str); 3] = [
    ("flake.nix", "assemble init"),
    ("images.toml", "assemble init"),
    ("Cargo.lock", "cargo generate-lockfile"),
];

/// Checks that Nix sees what it needs of a workspace. Nix itself would only name a file of its store that is not there.
///
/// # Errors
/// Names the file, and the command that cures it.
pub fn check(workspace: &Path) -> Result<()> {
    // A flake may have its Cargo workspace elsewhere.
    let is_cargos = workspace.join("Cargo.toml").exists();
    let needed = NEEDED
        .iter()
        .filter(|(name, _)| is_cargos || *name != "Cargo.lock");
    for (name, command) in needed.clone() {
        if !workspace.join(name).exists() {
            bail!(
                "there is no {}; this writes it: {command}",
                workspace.join(name).display()
            );
        }
    }
    let Some(repository) = Repository::of(workspace) else {
        return Ok(());
    };
    let mut names = needed.map(|(name, _)| *name);
    if let Some(name) = names.find(|name| !repository.tracks(name)) {
        let (why, option) = match repository.ignoring_line(name) {
            Some(line) => (format!("git ignores it ({line})"), " --force"),
            None => ("git does not track it".to_owned(), ""),
        };
        bail!(
            "Nix does not see {}: {why}, and of a repository Nix sees what git tracks. This cures it: git add{option} {name}",
            workspace.join(name).display()
        );
    }
    Ok(())
}

/// The repository that a workspace lies in.
pub struct Repository {
    workspace: PathBuf,
    /// The top of its work tree.
    pub top: PathBuf,
}

impl Repository {
    /// Of a workspace; none where it lies in none.
    pub fn of(workspace: &Path) -> Option<Self> {
        let workspace = workspace.canonicalize().ok()?;
        let mut above = workspace.ancestors();
        let top = above.find(|directory| directory.join(".git").exists())?;
        let top = top.to_owned();
        Some(Self { workspace, top })
    }

    /// Whether git knows a file of the workspace. Where git can't be asked, it does.
    pub fn tracks(&self, name: &str) -> bool {
        let known = self.git(&["ls-files", "--", name]);
        known.is_none_or(|known| !known.trim().is_empty())
    }

    /// The line that makes git ignore a file of the workspace: `.gitignore:3:Cargo.lock`.
    pub fn ignoring_line(&self, name: &str) -> Option<String> {
        let said = self.git(&["check-ignore", "--verbose", "--", name])?;
        said.split('\t').next().map(str::to_owned)
    }

    /// The directories of its submodules, relative to its top.
    pub fn submodules(&self) -> Vec<String> {
        let text = fs::read_to_string(self.top.join(".gitmodules")).unwrap_or_default();
        let values = text.lines().filter_map(|line| line.split_once('='));
        let paths = values.filter(|(key, _)| key.trim() == "path");
        paths.map(|(_, path)| path.trim().to_owned()).collect()
    }

    /// What git prints; none where it fails. Nothing that the repository's configuration names is run.
    fn git(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("git")
            .args(["-c", "core.fsmonitor=false"])
            .args(arguments)
            .current_dir(&self.workspace)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(printed)
    }
}
