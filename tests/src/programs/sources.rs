//! Makes a workspace with images from a crate of crates.io, with a user's commands.

use super::table::Program;
use crate::checkout::{assemble, repository};
use crate::cold::Cold;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Puts the crate's sources and Crateyard's files into a git repository. Fetches the files that its
/// locks pin into the machine's store, or into one below `place`. `crateyard` is a clone of
/// Crateyard.
pub fn prepare(
    program: &Program,
    place: &Path,
    crateyard: &Path,
    machine_store: bool,
) -> Result<Cold> {
    let workspace = unpack(program, &download(program)?, place)?;
    for edit in &program.edits {
        edit.apply(&workspace)?;
    }
    let said = init(&workspace, crateyard)?;
    ensure!(
        !said.contains("# add the lines"),
        "error: the crate has a flake.nix of its own, and init asks for an edit of it"
    );
    let cold = match machine_store {
        true => Cold::in_machine_store(place, workspace),
        false => Cold::new(place, workspace),
    };
    if said.contains("assemble lock") {
        run(&cold.workspace, &assemble(), &["lock"])?;
    }
    track(&cold.workspace)?;
    let own = cold.workspace.join("debian.lock");
    cold.fetch_crateyard()?;
    cold.fetch(
        &cold.workspace,
        &if own.exists() {
            own
        } else {
            repository().join("debian.lock")
        },
    )?;
    track(&cold.workspace)?;
    cold.lock_flake()?;
    commit(&cold.workspace)?;
    Ok(cold)
}

/// Makes Cargo download the `.crate` file, and returns its path.
fn download(program: &Program) -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let cache = home.context("no home directory")?.join("registry/cache");
    let file = format!("{}-{}.crate", program.name, program.version);
    let find = || {
        let registries = fs::read_dir(&cache).ok()?.flatten();
        let mut files = registries.map(|registry| registry.path().join(&file));
        files.find(|file| file.exists())
    };
    if find().is_none() {
        let version = format!("{}@{}", program.name, program.version);
        // This downloads only the crate, not its dependencies.
        let info = ["info", "--quiet", "--registry", "crates-io", &version];
        run(&std::env::temp_dir(), "cargo", &info)?;
    }
    find().with_context(|| format!("{file} is not in {}", cache.display()))
}

/// Unpacks the crate. Its lock pins the packages that its authors built it with. If it has none,
/// `assemble init` makes one.
fn unpack(program: &Program, file: &Path, place: &Path) -> Result<PathBuf> {
    let name = format!("{}-{}", program.name, program.version);
    let parent = place.join("sources");
    let workspace = parent.join(&name);
    if workspace.exists() {
        fs::remove_dir_all(&workspace)?;
    }
    fs::create_dir_all(&parent)?;
    let file = file.to_string_lossy();
    run(&parent, "tar", &["-xzf", &file, "--no-same-owner"])?;
    run(
        &workspace,
        "git",
        &["init", "--quiet", "--initial-branch=main"],
    )?;
    Ok(workspace)
}

/// Makes a clone of Crateyard's last commit, so that edits during the run have no effect. Its name
/// is unique, because another run may have the same place.
pub fn clone_crateyard(place: &Path) -> Result<TempDir> {
    let clone = tempfile::Builder::new()
        .prefix("crateyard-")
        .tempdir_in(place)?;
    let (from, to) = (repository(), clone.path().to_string_lossy());
    run(
        place,
        "git",
        &["clone", "--quiet", &from.to_string_lossy(), &to],
    )?;
    Ok(clone)
}

fn init(workspace: &Path, crateyard: &Path) -> Result<String> {
    let url = format!("git+file://{}", crateyard.display());
    run(workspace, &assemble(), &["init", "--crateyard", &url])
}

/// Adds all files to git, because Nix sees only tracked files.
fn track(workspace: &Path) -> Result<()> {
    run(workspace, "git", &["add", "--all", "--force"]).map(drop)
}

fn commit(workspace: &Path) -> Result<()> {
    track(workspace)?;
    let name = "user.name=programs";
    let identity = ["-c", name, "-c", "user.email=programs@localhost"];
    let commit = ["commit", "--quiet", "--message", "From crates.io"];
    run(workspace, "git", &[identity, commit].concat()).map(drop)
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = duct::cmd(program, arguments)
        .dir(directory)
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()
        .with_context(|| format!("cannot start {program}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program} {} failed:\n{said}",
        arguments.join(" ")
    );
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_at_the_same_place_have_clones_of_their_own() {
        let place = tempfile::tempdir().unwrap();
        let clones = [(); 2].map(|()| clone_crateyard(place.path()).unwrap());
        assert_ne!(clones[0].path(), clones[1].path());
        for clone in clones {
            assert!(clone.path().starts_with(place.path()));
            assert!(clone.path().join("flake.nix").exists());
        }
    }
}
