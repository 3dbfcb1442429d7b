//! The documents about images. Independent validators and scanners read them, and the tests compare
//! them with Cargo's output.

use crate::checkout::{assemble, repository};
use crate::release::cache;
use crate::trial::trial_with;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("trust::{name}"), tools, run);
    vec![
        test(
            "documents_pass_the_validators_of_others",
            &["python3"],
            documents_are_valid,
        ),
        test(
            "every_component_has_every_element",
            &[],
            elements_are_complete,
        ),
        test(
            "programs_list_what_cargo_links",
            &["cargo"],
            lists_are_exact,
        ),
        test(
            "cargo_audit_reads_programs",
            &["cargo-audit"],
            cargo_audit_reads,
        ),
    ]
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The layouts of all images.
fn images() -> Result<Vec<(String, PathBuf)>> {
    let text = duct::cmd!(assemble(), "build", "--json")
        .dir(repository())
        .read()?;
    let built: Vec<Value> = serde_json::from_str(&text)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(built
        .iter()
        .map(|image| (text(&image["name"]), PathBuf::from(text(&image["path"]))))
        .collect())
}

fn documents(layout: &Path) -> PathBuf {
    layout.join("attestations/linux-amd64")
}

fn documents_are_valid() -> Result<()> {
    let python = validators()?;
    let script = repository().join("tests/trust/validate.py");
    for (name, layout) in images()? {
        duct::cmd!(&python, &script, documents(&layout))
            .run()
            .with_context(|| format!("{name}: a validator complains"))?;
    }
    Ok(())
}

/// A Python environment with the validators, kept between runs.
fn validators() -> Result<PathBuf> {
    let environment = cache("validators")?;
    let wanted = repository().join("tests/trust/requirements.txt");
    let installed = environment.join("requirements.txt");
    if fs::read(&wanted)? != fs::read(&installed).unwrap_or_default() {
        duct::cmd!("python3", "-m", "venv", &environment).run()?;
        let pip = environment.join("bin/pip");
        duct::cmd!(pip, "install", "--quiet", "--requirement", &wanted).run()?;
        fs::copy(&wanted, &installed)?;
    }
    Ok(environment.join("bin/python"))
}

/// Each component has the elements of CISA's draft of 2025: producer, name, version, identifier,
/// hash, licence. The document has author, tool, time and context.
fn elements_are_complete() -> Result<()> {
    for (name, layout) in images()? {
        let sbom: Value =
            serde_json::from_slice(&fs::read(documents(&layout).join("sbom.spdx.json"))?)?;
        let packages = sbom["packages"].as_array().context("no packages")?;
        ensure!(
            packages.len() > 10,
            "{name}: only {} packages",
            packages.len()
        );
        for package in packages {
            let known = |field: &str| {
                let text = package[field].as_str().unwrap_or_default();
                !text.is_empty() && text != "NOASSERTION"
            };
            let lists = |field: &str| package[field].as_array().is_some_and(|it| !it.is_empty());
            let fields = ["name", "versionInfo", "supplier", "licenseDeclared"];
            let mut missing: Vec<&str> = fields.into_iter().filter(|it| !known(it)).collect();
            missing.extend(
                ["checksums", "externalRefs"]
                    .into_iter()
                    .filter(|it| !lists(it)),
            );
            // The image's own licence comes from its labels. Other images have their own documents.
            missing.retain(|it| {
                *it != "licenseDeclared" || package["primaryPackagePurpose"] != "CONTAINER"
            });
            ensure!(
                missing.is_empty(),
                "{name}: {} lacks {missing:?}",
                package["name"]
            );
        }
        let creation = &sbom["creationInfo"];
        let creators = creation["creators"].to_string();
        ensure!(
            creators.contains("Organization: ") && creators.contains("Tool: "),
            "{name}: {creators}"
        );
        ensure!(
            creation["comment"].to_string().contains("context: build"),
            "{name}: no context"
        );
        let native = packages.iter().filter(|it| {
            it["comment"]
                .to_string()
                .contains("build script of the crate")
        });
        ensure!(native.count() > 0, "{name}: no library of a -sys crate");
    }
    Ok(())
}

fn lists_are_exact() -> Result<()> {
    let binaries = ["cluster", "gateway", "supervisor"];
    for (name, layout) in images()? {
        let text = duct::cmd!(assemble(), "inspect", "--packages", "--json", &layout).read()?;
        let said: Value = serde_json::from_str(&text)?;
        let programs: Vec<&str> = match name.as_str() {
            "cluster" => binaries.to_vec(),
            own => vec![own],
        };
        let mut wanted = BTreeSet::new();
        for program in programs {
            wanted.extend(linked(program)?);
        }
        let crates = said[0]["contents"]["crates"]
            .as_array()
            .context("no crates")?;
        let found: BTreeSet<String> = crates
            .iter()
            .map(|it| {
                format!(
                    "{} {}",
                    it["name"].as_str().unwrap_or(""),
                    it["version"].as_str().unwrap_or("")
                )
            })
            .collect();
        let missing: Vec<_> = wanted.difference(&found).collect();
        let extra: Vec<_> = found.difference(&wanted).collect();
        ensure!(
            missing.is_empty() && extra.is_empty(),
            "{name}: missing {missing:?}, extra {extra:?}"
        );
    }
    Ok(())
}

/// The crates of a program by `cargo tree`, with the features that all programs together need.
fn linked(program: &str) -> Result<BTreeSet<String>> {
    let text = duct::cmd!(
        "cargo",
        "tree",
        "--offline",
        "--locked",
        "-p",
        "cluster",
        "-p",
        "gateway",
        "-p",
        "supervisor",
        "--edges",
        "normal,no-proc-macro",
        "--target",
        TARGET,
        "--prefix",
        "depth",
        "--no-dedupe"
    )
    .dir(repository())
    .read()?;
    let mut found = BTreeSet::new();
    let mut is_own = false;
    for line in text.lines() {
        let name = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let mut words = name.split(' ');
        let (name, version) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if line.starts_with('0') {
            is_own = name == program;
        }
        if is_own && !name.is_empty() {
            found.insert(format!("{name} {}", version.trim_start_matches('v')));
        }
    }
    ensure!(found.len() > 1, "cargo tree says nothing of {program}");
    Ok(found)
}

/// `cargo audit bin` finds all crates.
fn cargo_audit_reads() -> Result<()> {
    let data = tempfile::tempdir()?;
    fs::create_dir_all(data.path().join("crates"))?;
    for (name, layout) in images()?.into_iter().filter(|(name, _)| name != "cluster") {
        let program = data.path().join(&name);
        let bytes = duct::cmd!(assemble(), "cat", &layout, format!("/usr/bin/{name}"))
            .stdout_capture()
            .run()?;
        fs::write(&program, bytes.stdout)?;
        let output = duct::cmd!(
            "cargo-audit",
            "audit",
            "--no-fetch",
            "--stale",
            "--db",
            data.path(),
            "--json",
            "bin",
            &program
        )
        .unchecked()
        .stdout_capture()
        .run()?;
        let report: Value = serde_json::from_slice(&output.stdout).context("no report")?;
        let count = report["lockfile"]["dependency-count"].as_u64();
        ensure!(
            count == Some(linked(&name)?.len() as u64),
            "{name}: {report}"
        );
    }
    Ok(())
}
