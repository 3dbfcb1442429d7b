//! The documents about images. Independent validators and scanners read them, and the tests compare
//! them with Cargo's output.

pub mod attached;
mod edges;
mod elements;
mod kms;
mod licenses;
mod run;
mod scanners;

use crate::checkout::{assemble, repository};
use crate::engine::run;
use crate::nix;
use crate::python;
use crate::trial::trial_with;
use crate::workspaces::{attribute, small_with};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
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
            "everything_attached_passes_the_validators_of_others",
            &["docker-registry", "curl", "python3"],
            attached::is_valid,
        ),
        test(
            "every_component_has_every_element",
            &[],
            elements::are_complete,
        ),
        test(
            "programs_list_what_cargo_links",
            &["cargo"],
            lists_are_exact,
        ),
        test(
            "scanners_find_what_is_linked_and_nothing_else",
            &["cargo", "python3"],
            scanners::find,
        ),
        test(
            "audits_tell_linked_crates_from_locked_ones",
            &["cargo", "python3"],
            scanners::audits_by_reach,
        ),
        test(
            "keys_of_aws_kms_sign",
            &["docker-registry", "python3", "umoci"],
            kms::keys_sign,
        ),
        test(
            "keys_of_google_and_azure_sign",
            &["docker-registry", "python3", "umoci"],
            kms::clouds_sign,
        ),
        test(
            "the_provenance_of_a_run_has_its_parameters_and_times",
            &["docker-registry", "curl", "python3"],
            run::is_described,
        ),
        test(
            "the_provenance_of_a_gitlab_job_names_runner_and_pipeline",
            &["docker-registry", "curl", "python3"],
            run::of_gitlab,
        ),
        test("one_line_leaves_the_list_out", &["cargo"], list_is_left_out),
        test(
            "crates_that_name_only_a_file_have_its_licence",
            &[],
            licenses::of_files,
        ),
        test(
            "c_libraries_have_the_versions_that_they_say",
            &["cargo", "runc"],
            c_libraries,
        ),
    ]
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Returns the layouts of all images.
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
    for (name, layout) in images()? {
        let counts = attached::validate(&documents(&layout)).context(name)?;
        let one = json!({"cyclonedx": 1, "https://slsa.dev/provenance/v1": 1, "spdx": 1,
            "statement": 1});
        ensure!(counts == one, "{counts}");
    }
    Ok(())
}

/// Returns a program of the Python environment with validators and scanners.
fn validator(program: &str) -> Result<PathBuf> {
    let read = |file| fs::read_to_string(repository().join("tests/trust").join(file));
    let packages = read("requirements.txt")?;
    let alone = read("requirements-no-deps.txt")?;
    let programs = python::environment_with("validators", &packages, &alone)?;
    Ok(programs.join(program))
}

/// The lists in programs have the crates of `cargo tree`, and both bills of materials have its
/// dependencies, crate by crate. What else depends on what is the same in both.
fn lists_are_exact() -> Result<()> {
    for (name, layout) in images()? {
        let text = duct::cmd!(assemble(), "inspect", "--packages", "--json", &layout).read()?;
        let said: Value = serde_json::from_str(&text)?;
        let (mut wanted, mut uses) = (BTreeSet::new(), BTreeSet::new());
        for program in programs_of(&name) {
            wanted.extend(linked(program)?);
            uses.extend(dependencies(program)?);
        }
        let crates = said[0]["contents"]["crates"]
            .as_array()
            .context("no crates")?;
        same(&name, &wanted, &crates.iter().map(named).collect())?;
        let [spdx, cyclonedx] = edges::of_both(&documents(&layout))?;
        for (form, edges) in [("SPDX", &spdx), ("CycloneDX", &cyclonedx)] {
            let of_crates = edges::between_crates(edges);
            same(&format!("{name}, {form}"), &uses, &of_crates)?;
        }
        same(&name, &edges::said(&spdx), &edges::said(&cyclonedx))?;
    }
    Ok(())
}

/// Returns the dependencies between crates of a program by `cargo tree`.
fn dependencies(program: &str) -> Result<BTreeSet<String>> {
    let mut above: Vec<String> = Vec::new();
    let mut found = BTreeSet::new();
    for (depth, name) in tree(program)? {
        above.truncate(depth);
        found.extend(above.last().map(|user| format!("{user} uses {name}")));
        above.push(name);
    }
    Ok(found)
}

/// Returns the crates of a program by `cargo tree`.
fn linked(program: &str) -> Result<BTreeSet<String>> {
    Ok(tree(program)?.into_iter().map(|(_, name)| name).collect())
}

/// Returns the crates of a program by `cargo tree`, with the combined features of all programs, as
/// depth and `NAME VERSION`.
fn tree(program: &str) -> Result<Vec<(usize, String)>> {
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
    let mut found = Vec::new();
    let mut is_own = false;
    for line in text.lines() {
        let name = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let depth = line[..line.len() - name.len()].parse().unwrap_or(0);
        let mut words = name.split(' ');
        let (name, version) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if line.starts_with('0') {
            is_own = name == program;
        }
        if is_own && !name.is_empty() {
            let version = version.trim_start_matches('v');
            found.push((depth, format!("{name} {version}")));
        }
    }
    ensure!(found.len() > 1, "cargo tree says nothing of {program}");
    Ok(found)
}

/// Programs carry the list of their crates, unless `images.toml` says otherwise.
fn list_is_left_out() -> Result<()> {
    let workspace = small_with("listed", "fn main() {}", "", "")?;
    let has_list = || -> Result<bool> {
        let layout = nix::build(&attribute(workspace.path(), "images.listed"))?;
        let program = duct::cmd!(assemble(), "cat", &layout, "/usr/bin/listed")
            .stdout_capture()
            .run()?;
        let mut sections = program.stdout.windows(8);
        Ok(sections.any(|bytes| bytes == b".dep-v0\0"))
    };
    ensure!(has_list()?, "no list by default");
    let description = workspace.path().join("images.toml");
    let text = fs::read_to_string(&description)?;
    fs::write(&description, text + "\n[build]\ncrate-list = false\n")?;
    ensure!(!has_list()?, "a list although there should be none");
    Ok(())
}

/// Build scripts compile zlib and zstd. The bill of materials has the versions that these libraries
/// report at run time.
fn c_libraries() -> Result<()> {
    let main = "fn main() {\n    \
        let z = unsafe { std::ffi::CStr::from_ptr(libz_sys::zlibVersion()) };\n    \
        let zstd = unsafe { std::ffi::CStr::from_ptr(zstd_sys::ZSTD_versionString()) };\n    \
        println!(\"z {}\\nzstd {}\", z.to_str().unwrap(), zstd.to_str().unwrap());\n}\n";
    let dependencies = "[dependencies.libz-sys]\nversion = \"1\"\ndefault-features = false\n\
                        features = [\"static\"]\n\n\
                        [dependencies.zstd-sys]\nversion = \"2\"\ndefault-features = false\n";
    let workspace = small_with("archives", main, "", dependencies)?;
    let layout = nix::build(&attribute(workspace.path(), "images.archives"))?;
    let said = run(&layout, &[], "")?;
    ensure!(said.lines().count() == 2, "it says\n{said}");
    let sbom = fs::read(documents(&layout).join("sbom.spdx.json"))?;
    let sbom: Value = serde_json::from_slice(&sbom)?;
    let packages = sbom["packages"].as_array().context("no packages")?;
    for library in said.lines() {
        let has = packages.iter().any(|it| {
            let version = it["versionInfo"].as_str().unwrap_or_default();
            let own = format!("{} {version}", it["name"].as_str().unwrap_or_default());
            own == library
                && it["comment"]
                    .to_string()
                    .contains("build script of the crate")
        });
        ensure!(has, "no {library} in the bill of materials");
    }
    Ok(())
}

fn layout_of(image: &str) -> Result<PathBuf> {
    let found = images()?.into_iter().find(|(name, _)| name == image);
    Ok(found.with_context(|| format!("no image {image}"))?.1)
}

/// Returns the programs of an image of this repository.
fn programs_of(image: &str) -> Vec<&str> {
    match image {
        "cluster" => vec!["cluster", "gateway", "supervisor"],
        own => vec![own],
    }
}

/// Returns the packages of a report as `NAME VERSION`.
fn named(package: &Value) -> String {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    format!("{} {}", text("name"), text("version"))
}

fn same(what: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>) -> Result<()> {
    let missing: Vec<_> = wanted.difference(found).collect();
    let extra: Vec<_> = found.difference(wanted).collect();
    ensure!(
        missing.is_empty() && extra.is_empty(),
        "{what}: missing {missing:?}, extra {extra:?}"
    );
    Ok(())
}
