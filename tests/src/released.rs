//! The release workflow and `cargo binstall` agree: the workflow's own commands pack the archive
//! that `[package.metadata.binstall]` asks for.

use crate::checkout::{assemble, repository};
use crate::trial::trial_with;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial_with(
        "workflows::the_release_packs_what_binstall_fetches".to_owned(),
        &["bash", "tar", "sha256sum"],
        release_fits_binstall,
    )]
}

const WORKFLOW: &str = ".github/workflows/release.yml";

fn release_fits_binstall() -> Result<()> {
    let workflow = fs::read_to_string(repository().join(WORKFLOW))?;
    let manifest = fs::read_to_string(repository().join("crates/assemble/Cargo.toml"))?;
    let manifest: toml::Table = toml::from_str(&manifest)?;
    let binstall = &manifest["package"]["metadata"]["binstall"];
    // Each packing job names its target.
    let jobs: Vec<&str> = workflow.split("\n    env:\n").skip(1).collect();
    let mut packed = BTreeMap::new();
    let place = tempfile::tempdir()?;
    for job in jobs.iter().filter(|job| job.contains("- name: Pack\n")) {
        let target = job
            .split("TARGET: ")
            .nth(1)
            .and_then(|it| it.lines().next());
        let target = target.context("a job that packs names no TARGET")?.trim();
        let directory = place.path().join(target);
        pack(&directory, target, &step(job, "Pack")?)?;
        packed.insert(target.to_owned(), directory);
    }
    let targets: Vec<&String> = packed.keys().collect();
    ensure!(
        targets == ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"],
        "{WORKFLOW} packs for {targets:?}"
    );
    for (asked, target) in [
        ("aarch64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"),
        ("aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"),
        ("x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"),
        ("x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"),
    ] {
        let own = binstall.get("overrides").and_then(|it| it.get(asked));
        let setting = |name: &str| {
            let value = own
                .and_then(|it| it.get(name))
                .or_else(|| binstall.get(name));
            let value = value.and_then(|it| it.as_str()).unwrap_or_default();
            let value = value
                .replace("{ target }", asked)
                .replace("{ bin }", "assemble");
            value.replace("{ binary-ext }", "")
        };
        let url = setting("pkg-url");
        let archive = url.rsplit('/').next().unwrap_or_default();
        let unpacked = place.path().join(asked).join("unpacked");
        fs::create_dir_all(&unpacked)?;
        duct::cmd!("tar", "-xzf", packed[target].join(archive), "-C", &unpacked)
            .run()
            .with_context(|| format!("{asked}: {url} is not what {WORKFLOW} packs"))?;
        let program = unpacked.join(setting("bin-dir"));
        let said = duct::cmd!(&program, "--version").read();
        let said = said.with_context(|| format!("{} is not there", program.display()))?;
        ensure!(said.starts_with("assemble "), "{said}");
    }
    // The workflow's own line makes the list of checksums, and `sha256sum --check` reads it.
    let sums = step(&workflow, "Checksums and signatures")?;
    let sums = sums.lines().find(|line| line.starts_with("sha256sum"));
    let directory = &packed["x86_64-unknown-linux-gnu"].join("release-files");
    fs::create_dir_all(directory)?;
    fs::write(directory.join("assemble.spdx.json"), "{}")?;
    let line = sums.context("the release makes no list of checksums")?;
    let script = format!("{line}; sha256sum --check --quiet SHA256SUMS && wc -l < SHA256SUMS");
    let lines = duct::cmd!("bash", "-euc", script).dir(directory).read()?;
    ensure!(lines.trim() == "1", "the list has {lines} lines");
    Ok(())
}

/// Returns the script of a step, without its indentation.
fn step(text: &str, name: &str) -> Result<String> {
    let step = text.split(&format!("- name: {name}\n")).nth(1);
    let script = step.and_then(|it| it.split("run: |\n").nth(1));
    let script = script.with_context(|| format!("{WORKFLOW} has no step {name:?}"))?;
    let indentation = " ".repeat(10);
    let lines = script
        .lines()
        .map_while(|line| line.strip_prefix(&indentation));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

/// Runs the script of a step that packs, with the program under test where the build leaves it.
fn pack(directory: &Path, target: &str, script: &str) -> Result<()> {
    let built = [
        directory.join("release/bin"),
        directory.join(format!("target/{target}/release")),
    ];
    for place in built {
        fs::create_dir_all(&place)?;
        fs::copy(assemble(), place.join("assemble"))?;
    }
    for name in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(repository().join(name), directory.join(name))?;
    }
    duct::cmd!("bash", "-euc", script)
        .dir(directory)
        .env("TARGET", target)
        .run()
        .with_context(|| format!("the step that packs for {target} fails"))?;
    Ok(())
}
