//! Does the work of a user of a workspace, with the commands that `assemble init` prints.

use crate::checkout::{assemble, repository};
use crate::engine;
use crate::outcome::{Failure, Outcome};
use crate::sources::Sources;
use crate::table::Workspace;
use anyhow::{Context, Result, bail, ensure};
use serde::de::IgnoredAny;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Clones the workspace, makes the edits, and runs `assemble init`, the commands that it names, and
/// `assemble plan`. If `is_built`, also runs `assemble build` as `init` names it, and the image. A
/// failing command is part of the outcome.
pub fn attempt(
    workspace: &Workspace,
    place: &Path,
    sources: &Sources,
    is_built: bool,
) -> Result<Outcome> {
    let mut outcome = Outcome {
        name: workspace.name.clone(),
        ..Outcome::default()
    };
    let mut user = User {
        directory: PathBuf::new(),
        programs: programs(place)?,
        sources,
        command: String::new(),
    };
    let planned = user.plan(workspace, place, &mut outcome);
    let done = match is_built {
        true => planned.and_then(|()| user.build(workspace, &mut outcome)),
        false => planned,
    };
    if let Err(error) = done {
        // The page is the same wherever the clones are.
        let said = sources.public(&format!("{error:#}"));
        outcome.failure = Some(Failure {
            command: user.command,
            said: said.replace(&format!("{}/", place.display()), ""),
        });
    }
    Ok(outcome)
}

/// Makes a directory for `PATH` with the command line under test.
fn programs(place: &Path) -> Result<PathBuf> {
    let directory = place.join("bin");
    fs::create_dir_all(&directory)?;
    let link = directory.join("assemble");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => symlink(assemble(), &link)?,
    }
    Ok(directory)
}

struct User<'a> {
    directory: PathBuf,
    programs: PathBuf,
    sources: &'a Sources,
    /// The last command.
    command: String,
}

impl User<'_> {
    fn plan(&mut self, workspace: &Workspace, place: &Path, outcome: &mut Outcome) -> Result<()> {
        self.clone_repository(workspace, place)?;
        for edit in &workspace.edits {
            edit.apply(&self.directory)?;
        }
        let crateyard = format!("git+file://{}", repository().display());
        let said = self.type_in(&format!("assemble init --crateyard {crateyard}"))?;
        outcome.images = images(&self.directory)?;
        outcome.packages = locked_packages(&self.directory)?;
        for line in next(&said) {
            match line.strip_prefix("assemble build") {
                Some(image) => outcome.main = Some(image.trim().to_owned()),
                None if line.starts_with('#') => bail!("it asks for an edit: {line}"),
                None => drop(self.type_in(line)?),
            }
        }
        let plan = self.type_in("assemble plan --json")?;
        let units: Vec<IgnoredAny> =
            serde_json::from_str(&plan).context("assemble plan --json printed something else")?;
        outcome.units = units.len();
        Ok(())
    }

    /// Builds the image that `assemble init` chooses, and runs it if the table has a run.
    fn build(&mut self, workspace: &Workspace, outcome: &mut Outcome) -> Result<()> {
        let image = outcome.main.clone().context("init names no image")?;
        self.type_in(&format!("assemble build {image}"))?;
        outcome.is_built = true;
        let Some(run) = &workspace.run else {
            return Ok(());
        };
        self.command = format!("{image} {}", run.arguments.join(" "));
        let layout = self.directory.join(format!(".crateyard/{image}-image"));
        let arguments: Vec<&str> = run.arguments.iter().map(String::as_str).collect();
        let said = engine::run_until(&layout.canonicalize()?, &arguments, "", run.code)?;
        ensure!(
            said.contains(&run.prints),
            "it does not print {:?} but\n{said}",
            run.prints
        );
        outcome.runs = true;
        Ok(())
    }

    /// Clones the repository anew, at the commit of the table.
    fn clone_repository(&mut self, workspace: &Workspace, place: &Path) -> Result<()> {
        let clone = place.join("clones").join(&workspace.name);
        if clone.exists() {
            fs::remove_dir_all(&clone)?;
        }
        fs::create_dir_all(&clone)?;
        self.directory = clone;
        let Workspace {
            address, commit, ..
        } = workspace;
        self.type_in(&format!("git clone --quiet {address} ."))?;
        self.type_in(&format!("git checkout --quiet {commit}"))?;
        self.directory.push(&workspace.directory);
        Ok(())
    }

    /// Runs a line in a shell, and returns what it prints.
    fn type_in(&mut self, line: &str) -> Result<String> {
        self.command = line.to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let command = duct::cmd!("sh", "-c", line)
            .dir(&self.directory)
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked();
        let output = self.sources.apply(command).run()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Returns the commands that `assemble init` prints at the end.
fn next(said: &str) -> Vec<&str> {
    let lines = said.lines().skip_while(|line| *line != "next:").skip(1);
    lines.map(str::trim).collect()
}

/// Returns the images in images.toml.
fn images(directory: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(directory.join("images.toml"))?;
    let table: toml::Table = toml::from_str(&text).context("images.toml is malformed")?;
    let images = table.get("images").and_then(toml::Value::as_table);
    Ok(images.into_iter().flat_map(|t| t.keys().cloned()).collect())
}

fn locked_packages(directory: &Path) -> Result<usize> {
    let lock = fs::read_to_string(directory.join("Cargo.lock"))?;
    Ok(lock.lines().filter(|line| *line == "[[package]]").count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_after_next() {
        let said = "wrote flake.nix\nnext:\n  git add flake.nix\n  assemble build api\n";
        assert_eq!(next(said), ["git add flake.nix", "assemble build api"]);
        assert!(next("wrote flake.nix\n").is_empty());
    }
}
