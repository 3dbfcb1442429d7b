//! What of a workspace git tracks. Of a repository Nix sees nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

    /// Whether git knows a file of the workspace.
    pub fn tracks(&self, name: &str) -> bool {
        self.git(&["ls-files", "--error-unmatch", "--", name])
            .is_some()
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
