//! The edits of the scenarios in the copy of the workspace.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::scenario::Scenario;
use crate::subject::Subject;
use crate::trial::Trial;

/// The name of the variant that a step adds.
const VARIANT: &str = "bench";

/// Makes the edit. Returns false if the scenario has none.
///
/// # Errors
/// When the edit changes nothing.
pub(crate) fn apply(scenario: Scenario, subject: &Subject, trial: &Trial) -> Result<bool> {
    let mark = format!("{}-{}", trial.nonce, scenario.title());
    match scenario {
        Scenario::Nothing | Scenario::FreshRunner => return Ok(false),
        Scenario::Cold => make_new(trial)?,
        Scenario::UnrelatedFile => trial.append("NOTES-OF-BENCH.txt", &mark)?,
        Scenario::FirstService => edit_program(subject, trial, subject.service(0)?, &mark)?,
        Scenario::SecondService => edit_program(subject, trial, subject.service(1)?, &mark)?,
        Scenario::SharedCode => {
            let library = subject.shared_library()?;
            trial.append(library, &edit_of_library(&mark))?;
        }
        Scenario::File => trial.append(subject.file()?, &format!("\n# {mark}\n"))?,
        Scenario::Tag => trial.change("images.toml", |text| {
            add_to_image(text, subject.image()?, "tags = [\"bench\"]\n")
        })?,
        Scenario::Variant => {
            let image = subject.image().context("there is no image")?;
            let variant = format!(
                "\n[images.{image}.variants.{VARIANT}]\nenvironment = {{ BENCH = \"1\" }}\n"
            );
            trial.append("images.toml", &variant)?;
        }
        Scenario::WorkspaceVersion => {
            trial.change("Cargo.toml", bump_version)?;
            trial.run("cargo", &["update", "--workspace", "--offline"])?;
        }
        Scenario::LeafBump => {
            let (name, version) = subject.leaf()?;
            let before = fs::read_to_string(trial.root().join("Cargo.lock"))?;
            trial.run(
                "cargo",
                &["update", "--package", name, "--precise", version],
            )?;
            if fs::read_to_string(trial.root().join("Cargo.lock"))? == before {
                bail!("{name} {version} is locked already: the bump changes nothing");
            }
        }
    }
    Ok(true)
}

/// Sets an environment variable to a new value for all of Cargo's calls, so that caches that are
/// keyed by inputs have no result for them.
fn make_new(trial: &Trial) -> Result<()> {
    let name = match trial.root().join(".cargo/config").is_file() {
        true => ".cargo/config",
        false => ".cargo/config.toml",
    };
    let line = format!("CRATEYARD_BENCH = \"{}\"\n", trial.nonce);
    let there = fs::read_to_string(trial.root().join(name)).unwrap_or_default();
    match there.contains("[env]\n") {
        true => trial.change(name, |text| {
            Some(text.replacen("[env]\n", &format!("[env]\n{line}"), 1))
        }),
        false => trial.append(name, &format!("\n[env]\n{line}")),
    }
}

/// Changes the program of a package.
fn edit_program(subject: &Subject, trial: &Trial, package: &str, mark: &str) -> Result<()> {
    let programs = subject.resolved.project.programs(package);
    let main = programs.iter().find(|path| !path.ends_with("build.rs"));
    let main = main.with_context(|| format!("{package} has no program"))?;
    trial.change(main, |text| {
        let start = text.find("fn main(")?;
        let (head, body) = text.split_at(start + text[start..].find('{')? + 1);
        Some(format!(
            "{head}\n    std::hint::black_box(\"{mark}\");{body}"
        ))
    })
}

fn edit_of_library(mark: &str) -> String {
    format!("\n#[doc(hidden)]\npub fn bench() -> &'static str {{\n    \"{mark}\"\n}}\n")
}

/// Adds a line to an image's table.
fn add_to_image(text: &str, image: &str, line: &str) -> Option<String> {
    let heading = format!("[images.{image}]\n");
    text.contains(&heading)
        .then(|| text.replacen(&heading, &format!("{heading}{line}"), 1))
}

/// Increments the last number of the workspace's version, or of the root package's.
fn bump_version(text: &str) -> Option<String> {
    let at = text
        .find("[workspace.package]")
        .or_else(|| text.find("[package]"))?;
    let start = at + text[at..].find("\nversion = \"")? + "\nversion = \"".len();
    let end = start + text[start..].find('"')?;
    let (head, patch) = text[start..end].rsplit_once('.')?;
    let patch: u64 = patch.parse().ok()?;
    Some(format!(
        "{}{head}.{}{}",
        &text[..start],
        patch + 1,
        &text[end..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_bumped_where_they_stand() {
        let text = "[package]\nname = \"a\"\nversion = \"0.1.9\"\n[dependencies]\nb = \"1\"\n";
        let bumped = bump_version(text).unwrap();
        assert_eq!(bumped, text.replace("0.1.9", "0.1.10"));
        assert_eq!(bump_version("[dependencies]\n"), None);
    }
}
