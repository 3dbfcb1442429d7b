//! Calls Nix.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The settings of every call, regardless of the machine's nix.conf. They use no caches, so that
/// the tests see only local builds.
pub const SETTINGS: &str = "\
extra-experimental-features = nix-command flakes
sandbox = true
max-jobs = auto
substituters =
warn-dirty = false
";

/// Returns those settings with the additions of the environment.
pub fn configuration() -> String {
    let own = std::env::var("NIX_CONFIG").unwrap_or_default();
    format!("{SETTINGS}{own}")
}

/// Makes a command let git take submodules from directories, which it refuses by default.
pub fn with_submodules_of_files(command: duct::Expression) -> duct::Expression {
    command
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "protocol.file.allow")
        .env("GIT_CONFIG_VALUE_0", "always")
}

/// Runs Nix and returns what it prints.
pub fn nix(arguments: &[&str]) -> Result<String> {
    let output = with_submodules_of_files(duct::cmd("nix", arguments))
        .env("NIX_CONFIG", configuration())
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "nix {} failed:\n{said}",
        arguments.join(" ")
    );
    let text = String::from_utf8(output.stdout).context("nix printed something else than text")?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Runs Nix, expects it to fail, and returns its messages.
pub fn nix_fails(arguments: &[&str]) -> Result<String> {
    let output = duct::cmd("nix", arguments)
        .env("NIX_CONFIG", configuration())
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        !output.status.success(),
        "nix {} did not fail",
        arguments.join(" ")
    );
    Ok(text)
}

/// Builds the result of an expression, and returns its path.
pub fn build(expression: &str) -> Result<PathBuf> {
    let text = nix(&[
        "build",
        "--impure",
        "--no-link",
        "--json",
        "--expr",
        expression,
    ])?;
    let built: serde_json::Value = serde_json::from_str(&text)?;
    let out = built[0]["outputs"]["out"]
        .as_str()
        .context("nix build printed no output")?;
    Ok(PathBuf::from(out))
}

/// Expects the build of an expression to fail, and returns Nix's messages, logs among them.
pub fn build_fails(expression: &str) -> Result<String> {
    nix_fails(&["build", "--impure", "--no-link", "-L", "--expr", expression])
}

/// Builds all elements of an expression's list.
pub fn build_all(expression: &str) -> Result<()> {
    let arguments = ["build", "--impure", "--no-link", "--expr", expression];
    nix(&arguments).map(|_| ())
}

/// Evaluates an expression in which `flake` is the flake of a directory.
pub fn evaluate<T: DeserializeOwned>(directory: &Path, expression: &str) -> Result<T> {
    let text = nix(&[
        "eval",
        "--impure",
        "--json",
        "--expr",
        &in_flake(directory, expression),
    ])?;
    serde_json::from_str(&text).context("nix eval printed something else than expected")
}

#[derive(Deserialize)]
struct Info {
    path: String,
    #[serde(rename = "narHash")]
    nar_hash: Option<String>,
}

/// Maps those of the paths that a store has to the hashes of their content.
pub fn hashes(store: &str, paths: &[String]) -> Result<BTreeMap<String, String>> {
    let mut arguments = vec!["path-info", "--json", "--store", store];
    arguments.extend(paths.iter().map(String::as_str));
    let infos: Vec<Info> = serde_json::from_str(&nix(&arguments)?)?;
    Ok(infos
        .into_iter()
        .filter_map(|info| Some((info.path, info.nar_hash?)))
        .collect())
}

/// Returns an expression in which `flake` is the flake of a directory.
pub fn in_flake(directory: &Path, expression: &str) -> String {
    format!(
        "let flake = builtins.getFlake \"git+file://{}\"; in {expression}",
        directory.display()
    )
}

/// Returns the `NAME` in `/nix/store/HASH-NAME.drv`.
pub fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once('-').map_or(file, |(_, name)| name);
    name.trim_end_matches(".drv").to_owned()
}
