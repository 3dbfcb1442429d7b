//! The ways to build side by side: what `assemble compare` and `assemble bench` say of a small workspace.

use crate::checkout::{assemble, repository};
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file. Those that need an engine are ignored where there is none.
pub fn trials() -> Vec<Trial> {
    let engine = duct::cmd!("docker", "info")
        .stdout_null()
        .stderr_null()
        .run()
        .is_ok();
    let layouts = repository()
        .join(".crateyard/layouts/builder-image")
        .exists();
    let can_build = engine && layouts;
    if !can_build {
        let lack = match engine {
            true => "there is no .crateyard/layouts/builder-image",
            false => "no engine answers `docker info`",
        };
        eprintln!("SKIPPED: ways::both_ways_give_the_same_programs: {lack}");
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
    ]
}

/// The workspace that the tests of the Dockerfile build, as a repository with a flake.
fn workspace() -> Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("crateyard-").tempdir()?;
    let root = directory.path();
    let from = repository().join("crates/description/tests/dockerfile/workspace");
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
    Ok(directory)
}

fn run(workspace: &Path, arguments: &[&str]) -> Result<String> {
    duct::cmd(assemble(), arguments)
        .dir(workspace)
        .env_remove("CARGO_TARGET_DIR")
        .read()
        .with_context(|| format!("assemble {} failed", arguments.join(" ")))
}

/// With the same toolchain, base and flags the programs have the same bytes, through Nix and through buildx.
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
    let layout = |name: &str| -> Result<String> {
        let path = repository().join(".crateyard/layouts").join(name);
        Ok(format!("oci-layout://{}", path.canonicalize()?.display()))
    };
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
        // What an engine says of an image that stands on nothing.
        let config = image["difference"]["config"]
            .as_array()
            .context("no configuration")?;
        let other = config
            .iter()
            .filter(|change| change["name"] != "config.WorkingDir");
        ensure!(other.count() == 0, "{name}: {config:?}");
        let files = image["difference"]["files"]
            .as_array()
            .context("no files")?;
        // Both are compressed by others, and one holds the other's layers.
        let packed = |path: &str| path.ends_with(".tgz") || path.ends_with(".tar");
        for file in files {
            let path = file["path"].as_str().unwrap_or_default();
            ensure!(packed(path), "{name}: {file}");
        }
    }
    Ok(())
}

/// The bench itself: scenarios, edits, verdicts, and what it writes.
fn bench_of_cargo() -> Result<()> {
    let workspace = workspace()?;
    let out = workspace.path().join(".crateyard/bench");
    let out_name = out.to_string_lossy();
    let scenarios = "cold,nothing,first-service,shared-code,file,tag,variant,workspace-version";
    run(
        workspace.path(),
        &[
            "bench",
            "--engines",
            "cargo",
            "--scenarios",
            scenarios,
            "--out",
            &out_name,
        ],
    )?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out.join("bench.json"))?)?;
    let rows = report["rows"].as_array().context("no rows")?;
    ensure!(rows.len() == 8, "{} rows", rows.len());
    for row in rows {
        ensure!(row["verdict"] == "pass", "{row}");
    }
    let compiled = &rows[2]["seen"]["packages"];
    ensure!(*compiled == serde_json::json!(["gateway"]), "{compiled}");
    for name in ["bench.tsv", "bench.md", "bench.svg"] {
        ensure!(out.join(name).is_file(), "{name} is missing");
    }
    Ok(())
}
