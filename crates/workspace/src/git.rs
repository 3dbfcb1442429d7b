//! Finds the files of a workspace that git tracks. In a repository Nix sees no other files.
//!
//! The repository may be somebody else's, so no program that its configuration names is run.

use crate::root;
use anyhow::{Context, Result, bail, ensure};
use crateyard_spec::repository_owner;
use crateyard_terminal::warning;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// The files that Nix needs to evaluate a workspace, each with the command that writes it.
const NEEDED: [(&str, &str); 4] = [
    ("flake.nix", "assemble init"),
    ("images.toml", "assemble init"),
    ("Cargo.lock", "cargo generate-lockfile"),
    ("Cargo.toml", "cargo init"),
];

/// The identifiers of an empty file, by SHA-1 and by SHA-256.
const EMPTY: [&str; 2] = [
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
];

/// A repository's own configuration can name programs that `git status` runs. These options turn
/// them off. The last one also makes git refuse a directory that holds the files of a `.git`
/// itself: any clone can have one, with a configuration that names filters.
const NO_PROGRAMS: [&str; 6] = [
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "safe.bareRepository=explicit",
];

/// Checks that Nix sees the files that it needs of a workspace. Nix's own error would only name a
/// missing file in its store.
///
/// # Errors
/// Names the file, and the command that fixes it.
pub fn check(workspace: &Path) -> Result<()> {
    // A flake may keep its Cargo workspace elsewhere.
    let is_cargos = workspace.join("Cargo.toml").exists();
    let needed = NEEDED
        .iter()
        .filter(|(name, _)| is_cargos || !name.starts_with("Cargo."));
    for (name, command) in needed.clone() {
        if !workspace.join(name).exists() {
            return Err(root::missing(workspace, name, command));
        }
    }
    let Some(repository) = GitRepository::of(workspace) else {
        return Ok(());
    };
    if let Err(error) = read(workspace, &["rev-parse", "--git-dir"]) {
        // The directory may belong to another user, as in containers of CI systems.
        warning!("Nix may not read this repository, as git does not: {error:#}");
    }
    let mut names = needed.map(|(name, _)| *name);
    if let Some(name) = names.find(|name| !repository.tracks(name)) {
        let (why, option) = match repository.ignoring_line(name) {
            Some(line) => (format!("git ignores it ({line})"), " --force"),
            None => ("git does not track it".to_owned(), ""),
        };
        bail!(
            "Nix does not see {}: {why}, and Nix sees only tracked files of a repository. To fix \
             it: git add{option} {name}",
            workspace.join(name).display()
        );
    }
    Ok(())
}

/// The repository around a workspace.
pub struct GitRepository {
    workspace: PathBuf,
    /// The top of its work tree.
    pub top: PathBuf,
}

impl GitRepository {
    /// Finds the repository of a workspace; `None` if there is none.
    pub fn of(workspace: &Path) -> Option<Self> {
        let workspace = workspace.canonicalize().ok()?;
        let mut above = workspace.ancestors();
        let top = above.find(|directory| directory.join(".git").exists())?;
        let top = top.to_owned();
        Some(Self { workspace, top })
    }

    /// Whether git knows a file of the workspace. If git can't be asked, the answer is yes.
    pub fn tracks(&self, name: &str) -> bool {
        let known = self.git(&["ls-files", "--", name]);
        known.is_none_or(|known| !known.trim().is_empty())
    }

    /// Whether a commit would hold the text of a file of the workspace. Nix makes git know a new
    /// file by its name alone, so that the commit would leave it out. If git can't be asked, the
    /// answer is yes.
    pub fn holds(&self, name: &str) -> bool {
        let Some(entry) = self.git(&["ls-files", "--stage", "--", name]) else {
            return true;
        };
        let id = entry.split(' ').nth(1).unwrap_or_default();
        !id.is_empty() && !EMPTY.contains(&id)
    }

    /// Returns the tracked files at or below a path of the workspace, also of a repository that
    /// belongs to another user. Listing them runs no program.
    ///
    /// # Errors
    /// Fails if git can't be started, or can't read the repository.
    pub fn tracked_below(&self, name: &str) -> Result<Vec<String>> {
        let anybodys = [
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ];
        let listed = ask(&self.workspace, &["ls-files", "-z", "--", name], &anybodys)?;
        Ok(names(&listed))
    }

    /// Returns the files of the workspace that git neither tracks nor ignores.
    pub fn untracked(&self) -> Vec<String> {
        let arguments = ["ls-files", "--others", "--exclude-standard", "-z"];
        names(&ask(&self.workspace, &arguments, &[]).unwrap_or_default())
    }

    /// Returns the rule that makes git ignore a file of the workspace: `.gitignore:3:Cargo.lock`.
    pub fn ignoring_line(&self, name: &str) -> Option<String> {
        let said = self.git(&["check-ignore", "--verbose", "--", name])?;
        said.split('\t').next().map(str::to_owned)
    }

    /// Returns the directories of its submodules, relative to its top.
    pub fn submodules(&self) -> Vec<String> {
        let text = fs::read_to_string(self.top.join(".gitmodules")).unwrap_or_default();
        let values = text.lines().filter_map(|line| line.split_once('='));
        let paths = values.filter(|(key, _)| key.trim() == "path");
        paths.map(|(_, path)| path.trim().to_owned()).collect()
    }

    /// Returns the owner of the repository that this one was cloned from, by its address
    /// ([`repository_owner`]).
    pub fn owner(&self) -> Option<String> {
        let url = self.git(&["config", "--get", "remote.origin.url"])?;
        repository_owner(url.trim()).map(str::to_owned)
    }

    /// Returns the paths of all tracked symbolic links, and of the submodules; `None` if git can't
    /// be asked.
    pub(crate) fn links_and_submodules(&self) -> Option<(Vec<PathBuf>, Vec<PathBuf>)> {
        let arguments = ["ls-files", "--stage", "-z", "--full-name", "--", ":/"];
        let listed = ask(&self.workspace, &arguments, &[]).ok()?;
        let of_kind = |kind: &[u8]| {
            let lines = listed.split(|&byte| byte == 0);
            let path = |line: &[u8]| {
                let tab = line.iter().position(|&byte| byte == b'\t')?;
                Some(self.top.join(OsStr::from_bytes(&line[tab + 1..])))
            };
            lines
                .filter(|line| line.starts_with(kind))
                .filter_map(path)
                .collect()
        };
        Some((of_kind(b"120000 "), of_kind(b"160000 ")))
    }

    /// Asks git about the work tree; `None` if git fails.
    fn git(&self, arguments: &[&str]) -> Option<String> {
        let printed = ask(&self.workspace, arguments, &[]).ok()?;
        Some(String::from_utf8_lossy(&printed).into_owned())
    }
}

/// Reads the names that git writes with `-z`.
fn names(listed: &[u8]) -> Vec<String> {
    let names = listed.split(|&byte| byte == 0);
    let names = names.filter(|name| !name.is_empty());
    names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Makes git check out repositories as Cargo does: files in git-lfs stay pointers. Otherwise a
/// checkout would depend on whether the machine has git-lfs, and a repository could name a server
/// for it to ask.
pub const AS_CARGO_CHECKS_OUT: (&str, &str) = ("GIT_LFS_SKIP_SMUDGE", "1");

/// Runs git in a directory, and returns its output.
///
/// # Errors
/// Fails if git can't be started, or exits with an error. The error quotes its message.
pub fn read(directory: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    run(directory, arguments, &[])
}

/// Fetches as [`read`] does, but from an address that somebody else wrote: over HTTPS alone, and
/// without asking anybody for a password.
///
/// # Errors
/// Fails as [`read`] does.
pub fn read_from_elsewhere(directory: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let nobody = [
        // This variable overrides every configuration, the user's too.
        ("GIT_ALLOW_PROTOCOL", "https"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "false"),
    ];
    run(directory, arguments, &nobody)
}

fn run(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<u8>> {
    let running = start(directory, arguments, variables)?;
    printed(arguments, running.wait()?)
}

/// The time in which git answers questions about the files of a work tree. It would wait forever
/// for a named pipe in the place of a `.gitignore`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs git as [`run`] does, for at most [`PATIENCE`].
fn ask(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<u8>> {
    let running = start(directory, arguments, variables)?;
    if let Some(output) = running.wait_timeout(PATIENCE)? {
        return printed(arguments, output);
    }
    running.kill()?;
    bail!(
        "git {} in {} did not end within {} seconds, and was stopped",
        arguments[0],
        directory.display(),
        PATIENCE.as_secs()
    )
}

fn start(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<duct::Handle> {
    let words = NO_PROGRAMS.iter().chain(arguments);
    let mut command = duct::cmd("git", words)
        .dir(directory)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env(AS_CARGO_CHECKS_OUT.0, AS_CARGO_CHECKS_OUT.1);
    for (name, value) in variables {
        command = command.env(name, value);
    }
    let command = command.stdin_null().stdout_capture().stderr_capture();
    command.unchecked().start().context("cannot start git")
}

fn printed(arguments: &[&str], output: &Output) -> Result<Vec<u8>> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {said}", arguments[0]);
    Ok(output.stdout.clone())
}

/// Returns the top of the repository around a directory.
///
/// # Errors
/// Fails if there is no repository.
pub fn top(directory: &Path) -> Result<PathBuf> {
    let top = read(directory, &["rev-parse", "--show-toplevel"])?;
    Ok(OsString::from_vec(top.trim_ascii_end().to_vec()).into())
}

/// Returns the tracked files and links, relative to the top; `None` if git tracks other kinds of
/// entries, such as submodules.
///
/// # Errors
/// Fails if git fails.
pub fn tracked(repository: &Path) -> Result<Option<BTreeSet<PathBuf>>> {
    let listed = read(repository, &["ls-files", "--stage", "-z"])?;
    let lines = listed
        .split(|&byte| byte == 0)
        .filter(|line| !line.is_empty());
    let path = |line: &[u8]| -> Option<PathBuf> {
        let tab = line.iter().position(|&byte| byte == b'\t')?;
        let is_file = line.starts_with(b"100") || line.starts_with(b"120");
        is_file.then(|| OsString::from_vec(line[tab + 1..].to_vec()).into())
    };
    Ok(lines.map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs git without the user's configuration.
    fn git_in(directory: &Path, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(directory);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.output().unwrap().status.success(), "{arguments:?}");
    }

    #[test]
    fn what_git_does_not_track_is_named() {
        let place = tempfile::tempdir().unwrap();
        let workspace = place.path().join("shop");
        fs::create_dir_all(workspace.join("src")).unwrap();
        fs::write(place.path().join("above.txt"), "").unwrap();
        fs::write(workspace.join(".gitignore"), "target\n").unwrap();
        let names = ["Cargo.lock", "Cargo.toml", "flake.nix", "images.toml"];
        for name in names.iter().chain(&["src/main.rs", "target"]) {
            fs::write(workspace.join(name), "").unwrap();
        }
        git_in(place.path(), &["init", "--quiet"]);
        git_in(
            &workspace,
            &["add", "Cargo.lock", "flake.nix", "images.toml"],
        );
        let said = check(&workspace).unwrap_err().to_string();
        assert!(said.ends_with("git add Cargo.toml"), "{said}");
        git_in(&workspace, &["add", "Cargo.toml"]);
        check(&workspace).unwrap();
        let repository = GitRepository::of(&workspace).unwrap();
        assert_eq!(repository.untracked(), [".gitignore", "src/main.rs"]);
    }

    /// Nix adds a new flake.lock so. `git commit` leaves it out, and `git stash` fails.
    #[test]
    fn a_file_whose_name_alone_is_added_is_not_held() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("flake.lock"), "{}").unwrap();
        git_in(place.path(), &["init", "--quiet"]);
        let repository = GitRepository::of(place.path()).unwrap();
        assert!(!repository.holds("flake.lock"));
        git_in(place.path(), &["add", "--intent-to-add", "flake.lock"]);
        assert!(repository.tracks("flake.lock") && !repository.holds("flake.lock"));
        git_in(place.path(), &["add", "flake.lock"]);
        assert!(repository.holds("flake.lock"));
    }

    /// A directory of a clone may hold the files of a `.git`. In it, git takes their configuration
    /// for that of the repository.
    #[test]
    fn a_clone_brings_no_configuration_along() {
        let place = tempfile::tempdir().unwrap();
        let (workspace, mark) = (place.path().join("workspace"), place.path().join("mark"));
        fs::create_dir(&workspace).unwrap();
        let git = |arguments: &[&str]| git_in(&workspace, arguments);
        git(&["init", "--quiet", "--bare", "."]);
        fs::write(workspace.join("flake.nix"), "{ }").unwrap();
        fs::write(workspace.join(".gitattributes"), "* filter=x\n").unwrap();
        git(&["--git-dir=.", "--work-tree=.", "add", "flake.nix"]);
        let config = format!(
            "[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\n[filter \
             \"x\"]\nclean = touch {}; cat\n",
            mark.display()
        );
        fs::write(workspace.join("config"), config).unwrap();
        // Of the same size, so that git looks into it.
        fs::write(workspace.join("flake.nix"), "{\n}").unwrap();
        let status = ["status", "--porcelain"];
        git(&status);
        assert!(mark.exists(), "git by itself runs the filter");
        fs::remove_file(&mark).unwrap();
        assert!(read(&workspace, &status).is_err());
        assert!(GitRepository::of(&workspace).is_none());
        assert!(!mark.exists());
    }
}
