//! The findings of scanners in programs, and the verdicts of `assemble audit` on them.

use super::{attached, images, layout_of, linked, named, programs_of, same, validator};
use crate::checkout::{assemble, repository};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// `cargo audit bin` and syft read the lists in programs. Every crate of `Cargo.lock` has an
/// advisory, so the report of `cargo audit` has all crates that it found.
pub fn find() -> Result<()> {
    let (cargo_audit, syft) = (validator("cargo-audit")?, validator("syft")?);
    let data = advisories()?;
    for name in ["gateway", "supervisor"] {
        let layout = layout_of(name)?;
        let place = tempfile::tempdir()?;
        let program = place.path().join(name);
        let bytes = duct::cmd!(assemble(), "cat", &layout, format!("/usr/bin/{name}"))
            .stdout_capture()
            .run()?;
        fs::write(&program, bytes.stdout)?;
        let wanted = linked(name)?;

        let report = duct::cmd!(
            &cargo_audit,
            "audit",
            "--no-fetch",
            "--stale",
            "--json",
            "--db",
            data.path(),
            "bin",
            &program
        )
        .unchecked()
        .stdout_capture()
        .stderr_null()
        .run()?;
        let report: Value = serde_json::from_slice(&report.stdout).context("no report")?;
        let count = report["lockfile"]["dependency-count"].as_u64();
        ensure!(
            count == Some(wanted.len() as u64),
            "cargo audit: {count:?} crates"
        );
        let listed = report["vulnerabilities"]["list"]
            .as_array()
            .context("no list")?;
        let found = listed.iter().map(|it| named(&it["package"])).collect();
        let own = own_crates()?;
        let of_crates_io = wanted
            .iter()
            .filter(|it| !own.contains(*it))
            .cloned()
            .collect();
        same("cargo audit", &of_crates_io, &found)?;

        let report = duct::cmd!(
            &syft,
            "scan",
            format!("dir:{}", place.path().display()),
            "--output",
            "json",
            "--quiet"
        )
        .env("SYFT_CHECK_FOR_APP_UPDATE", "false")
        .read()?;
        let report: Value = serde_json::from_str(&report)?;
        let artifacts = report["artifacts"].as_array().context("no artifacts")?;
        same("syft", &wanted, &artifacts.iter().map(named).collect())?;
    }
    Ok(())
}

/// `assemble audit` with an advisory for every crate of `Cargo.lock`: linked crates affect an
/// image, the others do not, and OpenVEX says so.
pub fn audits_by_reach() -> Result<()> {
    let data = advisories()?;
    let vex = tempfile::tempdir()?;
    let report = audit(data.path(), &["--vex", &vex.path().to_string_lossy()])?;
    let planned = audit(data.path(), &["--plan"])?;
    let (locked, own) = (locked()?, own_crates()?);
    for (name, _) in images()? {
        let programs = programs_of(&name);
        let mut wanted = BTreeSet::new();
        for program in programs {
            wanted.extend(linked(program)?);
        }
        wanted.retain(|it| !own.contains(it));
        let findings = findings_about(&report, &name)?;
        ensure!(
            findings == findings_about(&planned, &name)?,
            "{name}: the plan says otherwise than the documents"
        );
        let with = |status: &str| -> BTreeSet<String> {
            let found = findings.iter().filter(|it| it["status"] == status);
            found.map(|it| named(&it["component"])).collect()
        };
        same(&name, &wanted, &with("affected"))?;
        let absent = locked.difference(&wanted).cloned().collect();
        same(&name, &absent, &with("not_affected"))?;
        let document = vex.path().join(format!("{name}-linux-amd64.openvex.json"));
        let counts = attached::validate(&document).context(name)?;
        ensure!(counts["openvex"] == 1, "{counts}");
    }
    Ok(())
}

/// Returns the report of `assemble audit` on all images, each of which is affected.
pub fn audit(database: &Path, more: &[&str]) -> Result<Value> {
    let fixed = ["audit", "--no-debian", "--json", "--advisories"];
    let database = database.to_string_lossy();
    let arguments: Vec<&str> = [&fixed[..], &[&database], more].concat();
    let output = duct::cmd(assemble(), arguments)
        .dir(repository())
        .unchecked()
        .stdout_capture()
        .run()?;
    ensure!(
        output.status.code() == Some(1),
        "it ended with {}",
        output.status
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn findings_about<'a>(report: &'a Value, image: &str) -> Result<&'a Vec<Value>> {
    let images = report["images"].as_array().context("no images")?;
    let found = images.iter().find(|it| it["name"] == image);
    let found = found.with_context(|| format!("nothing about {image}"))?;
    found["findings"].as_array().context("no findings")
}

/// Makes a database that has an advisory about all versions of each crate of crates.io in
/// `Cargo.lock`.
pub fn advisories() -> Result<TempDir> {
    let data = tempfile::tempdir()?;
    let names: BTreeSet<String> = locked()?
        .iter()
        .filter_map(|it| it.split_once(' '))
        .map(|(name, _)| name.to_owned())
        .collect();
    for (number, name) in names.iter().enumerate() {
        let place = data.path().join("crates").join(name);
        fs::create_dir_all(&place)?;
        let id = format!("RUSTSEC-2099-{:04}", number + 1);
        let text = format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{name}\"\ndate = \"2099-01-01\"\n\n\
             [versions]\npatched = []\n```\n\n# About {name}\n"
        );
        fs::write(place.join(format!("{id}.md")), text)?;
    }
    Ok(data)
}

/// Returns the crates of crates.io in `Cargo.lock`, as `NAME VERSION`.
fn locked() -> Result<BTreeSet<String>> {
    packages_of_lock(|source| source.is_some())
}

/// Returns the crates of this workspace.
fn own_crates() -> Result<BTreeSet<String>> {
    packages_of_lock(|source| source.is_none())
}

fn packages_of_lock(is_wanted: fn(Option<&toml::Value>) -> bool) -> Result<BTreeSet<String>> {
    let lock: toml::Table = fs::read_to_string(repository().join("Cargo.lock"))?.parse()?;
    let packages = lock["package"].as_array().context("no packages")?;
    let found = packages.iter().filter(|it| is_wanted(it.get("source")));
    let text = |it: &toml::Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    Ok(found
        .map(|it| format!("{} {}", text(it, "name"), text(it, "version")))
        .collect())
}
