//! Compares the ways to build, with `assemble compare` and `assemble bench` on a small workspace.

use crate::checkout::{assemble, repository, source};
use crate::nix;
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file. Without an engine, those that need one are skipped.
pub fn trials() -> Vec<Trial> {
    let engine = duct::cmd!("docker", "info")
        .stdout_null()
        .stderr_null()
        .run()
        .is_ok();
    let layouts = source().join(".crateyard/layouts/builder-image").exists();
    let can_build = engine && layouts;
    if !can_build {
        let lack = match engine {
            true => "there is no .crateyard/layouts/builder-image",
            false => "no engine answers `docker info`",
        };
        eprintln!("SKIPPED: ways::both_ways_give_the_same_programs: {lack}");
    }
    let fresh = fresh_engine();
    if fresh.is_none() {
        eprintln!(
            "SKIPPED: ways::a_fresh_runner_with_a_cache_compiles_nothing: FRESH_ENGINE names no \
             engine"
        );
    }
    vec![
        trial(
            "ways::both_ways_give_the_same_programs".to_owned(),
            same_programs,
        )
        .with_ignored_flag(!can_build),
        trial(
            "ways::cargo_builds_what_the_bench_expects".to_owned(),
            bench_of_cargo,
        ),
        trial(
            "ways::a_fresh_runner_with_a_cache_compiles_nothing".to_owned(),
            fresh_runner,
        )
        .with_ignored_flag(!can_build || fresh.is_none()),
    ]
}

/// Returns the empty engine that tests/run starts.
fn fresh_engine() -> Option<String> {
    std::env::var("FRESH_ENGINE").ok()
}

/// Copies the workspace of the Dockerfile tests into a repository with a flake.
fn workspace() -> Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("crateyard-").tempdir()?;
    let root = directory.path();
    let from = repository().join("crates/dockerfile/tests/dockerfile/workspace");
    duct::cmd!("cp", "-r", format!("{}/.", from.display()), root).run()?;
    duct::cmd!("cp", repository().join("debian.lock"), root).run()?;
    std::fs::write(
        root.join("flake.nix"),
        format!(
            "{{\n  inputs.crateyard.url = \"git+file://{}\";\n  \
             outputs = {{ self, crateyard }}: crateyard.lib.mkFlake {{ src = self; }};\n}}\n",
            repository().display()
        ),
    )?;
    std::fs::write(root.join(".gitignore"), "/target\n/.crateyard\n")?;
    run(root, &["dockerfile"])?;
    duct::cmd!("git", "init", "--quiet").dir(root).run()?;
    duct::cmd!("git", "add", "--all").dir(root).run()?;
    nix::nix(&["flake", "lock", &format!("git+file://{}", root.display())])?;
    duct::cmd!("git", "add", "flake.lock").dir(root).run()?;
    Ok(directory)
}

fn run(workspace: &Path, arguments: &[&str]) -> Result<String> {
    duct::cmd(assemble(), arguments)
        .dir(workspace)
        .env_remove("CARGO_TARGET_DIR")
        .read()
        .with_context(|| format!("assemble {} failed", arguments.join(" ")))
}

/// Returns the layout that the Docker way starts from. tests/run makes it.
fn layout(name: &str) -> Result<String> {
    let path = source().join(".crateyard/layouts").join(name);
    Ok(format!("oci-layout://{}", path.canonicalize()?.display()))
}

/// With the same toolchain, base and flags, Nix and buildx make programs with the same bytes.
fn same_programs() -> Result<()> {
    let workspace = workspace()?;
    let root = workspace.path();
    run(root, &["fetch"])?;
    let vendor = root.join(".crateyard/vendor");
    duct::cmd!("cargo", "vendor", "--locked", "--versioned-dirs", &vendor)
        .dir(root)
        .stdout_null()
        .stderr_null()
        .run()?;
    let said = duct::cmd!(assemble(), "compare", "--json")
        .dir(root)
        .env("VENDOR", &vendor)
        .env("TOOLCHAIN", layout("builder-image")?)
        .env("BASE", layout("base-image")?)
        .stderr_null()
        .read()?;
    let compared: Vec<Value> = serde_json::from_str(&said)?;
    ensure!(compared.len() == 4, "{} images", compared.len());
    for image in &compared {
        let name = &image["name"];
        let programs = image["programs"].as_object().context("no programs")?;
        ensure!(!programs.is_empty(), "{name} has no program");
        ensure!(
            programs.values().all(|equal| equal == true),
            "{name}: {programs:?} in {}",
            image["sections"]
        );
        // An engine adds these fields to an image without a base, and to one with a command.
        let config = image["difference"]["config"]
            .as_array()
            .context("no configuration")?;
        let other = config
            .iter()
            .filter(|change| change["name"] != "config.WorkingDir")
            .filter(|change| change["name"] != "config.ArgsEscaped");
        ensure!(other.count() == 0, "{name}: {config:?}");
        let files = image["difference"]["files"]
            .as_array()
            .context("no files")?;
        // Other tools compress these files, and one holds the other's layers.
        let packed = |path: &str| path.ends_with(".tgz") || path.ends_with(".tar");
        // Nix's programs contain the list of their crates, which the comparison leaves out.
        let listed =
            |path: &str| programs.contains_key(&format!("/{}", path.trim_start_matches('/')));
        for file in files {
            let path = file["path"].as_str().unwrap_or_default();
            ensure!(packed(path) || listed(path), "{name}: {file}");
        }
    }
    Ok(())
}

/// Tests the bench: scenarios, edits, verdicts and files.
fn bench_of_cargo() -> Result<()> {
    let workspace = workspace()?;
    let scenarios = "cold,nothing,first-service,shared-code,file,tag,variant,workspace-version";
    let rows = bench(
        &workspace,
        &["--engines", "cargo", "--scenarios", scenarios],
    )?;
    ensure!(rows.len() == 8, "{} rows", rows.len());
    let compiled = &rows[2]["seen"]["packages"];
    ensure!(*compiled == serde_json::json!(["gateway"]), "{compiled}");
    // Another run adds new rows, and replaces rows of the same scenario.
    let rows = bench(
        &workspace,
        &[
            "--engines",
            "cargo",
            "--scenarios",
            "nothing,unrelated-file",
            "--add",
        ],
    )?;
    ensure!(rows.len() == 9, "{} rows", rows.len());
    Ok(())
}

/// Nix and an engine take the builds of others from a cache, and download nothing else.
fn fresh_runner() -> Result<()> {
    let workspace = workspace()?;
    let engine = fresh_engine().context("FRESH_ENGINE is not set")?;
    let scenarios = "second-service,fresh-runner";
    let rows = bench(
        &workspace,
        &[
            "--engines",
            "nix,buildx",
            "--scenarios",
            scenarios,
            "--fresh-engine",
            &engine,
        ],
    )?;
    ensure!(rows.len() == 4, "{} rows", rows.len());
    // The limit for the programs and the packages below them. The toolchain of 268 MiB and
    // intermediate units are not downloaded.
    const MAX_BYTES: u64 = 32 << 20;
    for row in &rows[2..] {
        let bytes = row["seen"]["bytes"].as_u64().context("no bytes")?;
        ensure!(
            row["scenario"] == "fresh-runner" && (1..MAX_BYTES).contains(&bytes),
            "{row}"
        );
    }
    Ok(())
}

/// Runs the bench, and returns the rows. All must have passed.
fn bench(workspace: &TempDir, arguments: &[&str]) -> Result<Vec<Value>> {
    let out = workspace.path().join(".crateyard/bench");
    duct::cmd(
        assemble(),
        ["bench", "--out", &out.to_string_lossy()]
            .iter()
            .chain(arguments),
    )
    .dir(workspace.path())
    .env_remove("CARGO_TARGET_DIR")
    .env("TOOLCHAIN", layout("builder-image").unwrap_or_default())
    .env("BASE", layout("base-image").unwrap_or_default())
    .stdout_null()
    .run()?;
    for name in ["bench.tsv", "bench.md", "bench.svg"] {
        ensure!(out.join(name).is_file(), "{name} is missing");
    }
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out.join("bench.json"))?)?;
    let rows = report["rows"].as_array().context("no rows")?;
    let failed = rows.iter().find(|row| row["verdict"] != "pass");
    ensure!(failed.is_none(), "{failed:?}");
    Ok(rows.clone())
}
