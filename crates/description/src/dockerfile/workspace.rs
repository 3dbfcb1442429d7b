//! The files of a workspace on disk.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

use super::{Files, Project, ProjectError, generate};
use crate::{Description, Problems, Sources, Workspace, locked_packages, names_of, normal, pinned};

/// Why the files of a workspace can't be generated.
#[derive(Debug)]
pub enum WorkspaceError {
    /// A file can't be read.
    Read(PathBuf, io::Error),
    /// Cargo can't be run, or has failed; what it said.
    Cargo(String),
    /// The description is wrong.
    Description(Problems),
    /// The workspace is.
    Project(ProjectError),
}

impl fmt::Display for WorkspaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkspaceError::Read(path, error) => {
                write!(f, "can't read `{}`: {error}", path.display())?;
                match path.ends_with("Cargo.lock") {
                    true => write!(f, "; `cargo generate-lockfile` writes it"),
                    false => Ok(()),
                }
            }
            WorkspaceError::Cargo(said) => write!(f, "`cargo metadata` failed: {said}"),
            WorkspaceError::Description(problems) => problems.fmt(f),
            WorkspaceError::Project(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WorkspaceError {}

/// A workspace on disk, with its description resolved.
#[derive(Debug)]
pub struct Resolved {
    /// What `images.toml` says.
    pub description: normal::Description,
    /// What Cargo says.
    pub project: Project,
    /// Its files.
    pub sources: Sources,
}

/// The generated files of the workspace at `root`, whose description is `images.toml` there.
///
/// # Errors
/// As [`resolve`].
pub fn for_workspace(root: &Path) -> Result<Files, WorkspaceError> {
    let Resolved {
        description,
        project,
        sources,
    } = resolve(root)?;
    Ok(generate(&description, &project, &sources))
}

/// Reads the workspace at `root`, whose description is `images.toml` there.
///
/// Runs `cargo metadata --no-deps`, which needs neither the network nor anything compiled.
///
/// # Errors
/// Where the workspace or its description is wrong, or Cargo can't be run.
pub fn resolve(root: &Path) -> Result<Resolved, WorkspaceError> {
    let text = read(&root.join("images.toml"))?;
    let mut description =
        Description::parse(&text, "images.toml").map_err(WorkspaceError::Description)?;
    let lock = read(&root.join("Cargo.lock"))?;
    let project = project(root, &lock)?;
    let mut workspace = Workspace::new(project.targets().clone());
    workspace.sources = Sources::Disk(root.to_path_buf());
    if let Ok(packages) = locked_packages(&lock) {
        workspace.locked = Some(names_of(&packages));
        let pinned = pinned_crates(root)?;
        description = description.with_known_crates(&packages, |name| pinned.contains(name));
    }
    let description = description
        .normalize(&workspace)
        .map_err(WorkspaceError::Description)?;
    Ok(Resolved {
        description,
        project,
        sources: workspace.sources,
    })
}

/// The crates for which the workspace's debian.lock has packages; none where there is no such file.
fn pinned_crates(root: &Path) -> Result<BTreeSet<String>, WorkspaceError> {
    let path = root.join("debian.lock");
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    pinned(&read(&path)?).map_err(|error| WorkspaceError::Read(path, malformed(error)))
}

fn project(root: &Path, lock: &str) -> Result<Project, WorkspaceError> {
    let manifest = read(&root.join("Cargo.toml"))?;
    let names = [".cargo/config.toml", ".cargo/config"];
    let configuration = names.into_iter().find(|name| root.join(name).is_file());
    Project::new(&metadata(root)?, &manifest, lock, configuration).map_err(WorkspaceError::Project)
}

fn metadata(root: &Path) -> Result<String, WorkspaceError> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| WorkspaceError::Cargo(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(WorkspaceError::Cargo(said.trim_end().to_string()));
    }
    let text = str::from_utf8(&output.stdout);
    text.map(str::to_string)
        .map_err(|error| WorkspaceError::Cargo(error.to_string()))
}

fn read(path: &Path) -> Result<String, WorkspaceError> {
    fs::read_to_string(path).map_err(|error| WorkspaceError::Read(path.to_path_buf(), error))
}
