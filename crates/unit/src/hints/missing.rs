//! Files, variables and revisions that a cell has only if `images.toml` declares them.

use super::{Failure, paths, words};
use crate::Action;
use crate::source::WORKSPACE;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Messages of programs that miss a file.
pub(super) const NOT_FOUND: [&str; 4] = ["No such file", "NotFound", "not found", "does not exist"];

/// Messages of Cargo about a member without its workspace.
const NO_WORKSPACE: [&str; 3] = [
    "failed to find a workspace root",
    "current package believes it's in a workspace when it's not",
    "error inheriting",
];

/// Variables that Cargo sets itself.
const CARGOS: [&str; 12] = [
    "DEBUG",
    "HOME",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PATH",
    "PROFILE",
    "RUSTC",
    "RUSTDOC",
    "TARGET",
    "TMPDIR",
];

impl Failure<'_> {
    /// Explains missing files: those that rustc could not read, and paths in the output.
    pub(super) fn named_files(&self) -> Option<String> {
        if !self.says_any(&NOT_FOUND) && !self.said.contains("no cached") {
            return None;
        }
        // rustc names files as seen from the workspace.
        let unreadable = words::unreadable(self.said).into_iter();
        let unreadable = unreadable.map(|file| Path::new(WORKSPACE).join(file));
        let mut files: BTreeSet<PathBuf> = unreadable
            .filter_map(|file| paths::undeclared(&file))
            .collect();
        // A compiler also quotes the source, where the path may stand without its beginning.
        if files.is_empty() {
            files.extend(self.undeclared(words::paths(self.said).into_iter()));
        }
        self.declare_files(files)
    }

    /// Explains a failure without a path by missing files that the sources name.
    pub(super) fn files_in_sources(&self) -> Option<String> {
        if !self.says_any(&NOT_FOUND[..2]) {
            return None;
        }
        let sources = self.code();
        let outside = sources
            .iter()
            .flat_map(|source| words::quoted_after(source, &["\"../", "\"./../"]));
        let mut named: Vec<String> = outside.map(|rest| format!("../{rest}")).collect();
        if matches!(self.request.unit.action, Action::RunBuildScript { .. }) {
            let inside = sources
                .iter()
                .flat_map(|source| words::quoted_left_out(source));
            named.extend(inside.map(str::to_owned));
        }
        self.declare_files(self.undeclared(named.iter().map(String::as_str)))
    }

    fn undeclared<'b>(&self, named: impl Iterator<Item = &'b str>) -> BTreeSet<PathBuf> {
        let directory = Path::new(&self.request.unit.source_dir);
        named
            .filter_map(|path| paths::undeclared(&directory.join(path)))
            .collect()
    }

    fn declare_files(&self, files: BTreeSet<PathBuf>) -> Option<String> {
        let package = self.package;
        // Paths of members are relative to the member, those of other packages to the workspace.
        let directory = Path::new(&self.request.unit.source_dir);
        let base = if directory.starts_with(WORKSPACE) {
            directory
        } else {
            Path::new(WORKSPACE)
        };
        let files: BTreeSet<PathBuf> = files.iter().map(|file| paths::whole(file)).collect();
        let files: Vec<String> = files
            .iter()
            .map(|file| paths::relative(base, file))
            .collect();
        let (first, are) = (
            files.first()?,
            if files.len() == 1 {
                "is"
            } else {
                "and others are"
            },
        );
        Some(format!(
            "{first:?} {are} not among the files that {package} is built from. \
             Add what is in the repository to `files` in images.toml:\n\n    \
             [crates.{package}]\n    files = {files:?}\n"
        ))
    }

    /// Explains a question to Cargo about the workspace, which Cargo did not find.
    pub(super) fn workspace(&self) -> Option<String> {
        let directory = Path::new(&self.request.unit.source_dir);
        let is_inner = directory.starts_with(WORKSPACE) && directory != Path::new(WORKSPACE);
        if self.request.skeleton.is_some() || !is_inner || !self.says_any(&NO_WORKSPACE) {
            return None;
        }
        let package = self.package;
        let manifest = paths::relative(directory, &Path::new(WORKSPACE).join("Cargo.toml"));
        Some(format!(
            "a macro, a build script or a test of {package} asks Cargo for the workspace. \
             Declare in images.toml that it sees the workspace's manifest:\n\n    \
             [crates.{package}]\n    files = [{manifest:?}]\n"
        ))
    }

    /// Explains a question to git.
    pub(super) fn revision(&self) -> Option<String> {
        if self.request.revision.is_some()
            || !(self.says_any(&NOT_FOUND) || self.said.contains("git"))
        {
            return None;
        }
        // Another repository is not the workspace's revision.
        if self.downloads_by_git() {
            return None;
        }
        let calls = |source: &String| source.contains("Command::new(\"git\")");
        let says = self.said.contains("execute git") || self.said.contains("run git");
        if !says && (self.is_compiled() || !self.sources().iter().any(calls)) {
            return None;
        }
        let package = self.package;
        Some(format!(
            "{package} asks git for its revision, and a unit sees no repository. Declare in \
             images.toml that it is given the revision; it is then built again with each commit:\
             \n\n    [crates.{package}]\n    revision = true\n"
        ))
    }

    /// Explains a missing variable.
    pub(super) fn variable(&self) -> Option<String> {
        let name = match words::undefined(self.said) {
            Some(name) => name.to_owned(),
            None if self.said.contains("NotPresent") => self.variables().first()?.clone(),
            None => return None,
        };
        let package = self.package;
        Some(format!(
            "{package} reads the variable {name}, which is not set. Set it in images.toml:\n\n    \
             [crates.{package}]\n    environment = {{ {name} = \"…\" }}\n"
        ))
    }

    /// Returns the variables that the sources read and that nobody has set.
    pub(super) fn variables(&self) -> Vec<String> {
        let openings = ["env::var(\"", "env::var_os(\"", "var_os(\"", "var(\""];
        let is_cargos = |name: &str| {
            ["CARGO", "DEP_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || CARGOS.contains(&name)
                || self.request.unit.env.contains_key(name)
        };
        let mut names = Vec::new();
        for source in self.sources() {
            for name in words::quoted_after(&source, &openings) {
                if !is_cargos(name) && !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
        }
        names
    }
}
