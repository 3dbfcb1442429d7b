//! Reads a workspace on disk, and generates its files.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Files, Project, ProjectError, generate, only_nix};
use crateyard_description::{
    Description, Pinned, Problems, Sources, Workspace, locked_packages, names_of, normal, pinned,
};

/// The arguments of `cargo metadata`.
pub const METADATA: [&str; 2] = ["--no-deps", "--offline"];

/// The reason why the files of a workspace can't be generated.
#[derive(Debug)]
pub enum WorkspaceError {
    /// A file can't be read.
    Read(PathBuf, io::Error),
    /// The description has errors.
    Description(Problems),
    /// The workspace has an error.
    Project(ProjectError),
    /// The description has features that only Nix builds: each by name.
    OnlyNix(Vec<String>),
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
            WorkspaceError::Description(problems) => problems.fmt(f),
            WorkspaceError::Project(error) => error.fmt(f),
            WorkspaceError::OnlyNix(things) => write!(
                f,
                "a Dockerfile can't build {}; `assemble build` builds such images with Nix",
                things.join(", ")
            ),
        }
    }
}

impl std::error::Error for WorkspaceError {}

/// A workspace on disk, with its description resolved.
#[derive(Debug)]
pub struct Resolved {
    /// The content of `images.toml`.
    pub description: normal::Description,
    /// The workspace as Cargo describes it.
    pub project: Project,
    /// The paths of its files.
    pub sources: Sources,
}

/// Generates the files for the workspace at `root`, which has the description `images.toml`.
///
/// # Errors
/// Returns the errors of [`resolve`] and of [`buildable`].
pub fn for_workspace(root: &Path, metadata: &str) -> Result<Files, WorkspaceError> {
    let Resolved {
        description,
        project,
        sources,
    } = resolve(root, metadata)?;
    buildable(&description)?;
    Ok(generate(&description, &project, &sources))
}

/// Checks that a Dockerfile can build all of a description.
///
/// # Errors
/// Returns [`WorkspaceError::OnlyNix`] if it can't.
pub fn buildable(description: &normal::Description) -> Result<(), WorkspaceError> {
    let things = only_nix::things(description);
    match things.is_empty() {
        true => Ok(()),
        false => Err(WorkspaceError::OnlyNix(things)),
    }
}

/// Reads the workspace at `root`, which has the description `images.toml`.
///
/// `metadata` is the output of `cargo metadata` with [`METADATA`]. That needs neither the network
/// nor anything compiled.
///
/// # Errors
/// Fails if a file can't be read, or the workspace or its description has errors.
pub fn resolve(root: &Path, metadata: &str) -> Result<Resolved, WorkspaceError> {
    let text = read(&root.join("images.toml"))?;
    let mut description =
        Description::parse(&text, "images.toml").map_err(WorkspaceError::Description)?;
    let lock = read(&root.join("Cargo.lock"))?;
    let project = project(root, &lock, metadata)?;
    let mut workspace = Workspace::new(project.targets().clone());
    workspace.sources = Sources::Disk(root.to_path_buf());
    if let Ok(packages) = locked_packages(&lock) {
        workspace.locked = Some(names_of(&packages));
        let pinned = pinned_crates(root)?;
        description = description.with_known_crates(&packages, |it| pinned.crates.contains(it));
        workspace.libraries = pinned.libraries;
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

/// Returns the package sets that the workspace's debian.lock has for crates; none if there is no
/// such file.
fn pinned_crates(root: &Path) -> Result<Pinned, WorkspaceError> {
    let path = root.join("debian.lock");
    if !path.exists() {
        return Ok(Pinned::default());
    }
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    pinned(&read(&path)?).map_err(|error| WorkspaceError::Read(path, malformed(error)))
}

fn project(root: &Path, lock: &str, metadata: &str) -> Result<Project, WorkspaceError> {
    let manifest = read(&root.join("Cargo.toml"))?;
    let names = [".cargo/config.toml", ".cargo/config"];
    let configuration = names.into_iter().find(|name| root.join(name).is_file());
    Project::new(metadata, &manifest, lock, configuration).map_err(WorkspaceError::Project)
}

fn read(path: &Path) -> Result<String, WorkspaceError> {
    fs::read_to_string(path).map_err(|error| WorkspaceError::Read(path.to_path_buf(), error))
}
