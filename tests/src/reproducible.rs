//! Builds every unit and every image again: in a second store, with another number of cores.

use crate::checkout::{assemble, repository};
use crate::nix;
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial(
        "reproducible::a_second_store_with_one_core_gives_the_same_bytes".into(),
        second_store,
    )]
}

/// Returns the second store. It is kept between runs, so that unchanged outputs are built there
/// only once.
fn store() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CRATEYARD_SECOND_STORE") {
        return Ok(path.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/crateyard/second-store"))
}

fn second_store() -> Result<()> {
    let second = store()?.to_string_lossy().into_owned();
    std::fs::create_dir_all(&second)?;
    duct::cmd!(assemble(), "fetch", "--store", &second)
        .dir(repository())
        .stdout_null()
        .run()?;

    let flake = format!("git+file://{}", repository().display());
    let all = format!("{flake}#images");
    nix::nix(&["build", "--no-link", &all])?;
    build_units()?;
    nix::nix(&[
        "build",
        "--no-link",
        "--store",
        &second,
        "--option",
        "cores",
        "1",
        &all,
    ])?;

    let units: BTreeMap<String, String> = nix::evaluate(
        &repository(),
        "builtins.mapAttrs (_: unit: unit.outPath) flake.legacyPackages.x86_64-linux.units",
    )?;
    metadata_is_what_libraries_hold(Path::new(&second), &units)?;
    let images: BTreeMap<String, String> = nix::evaluate(
        &repository(),
        "builtins.mapAttrs (_: image: image.outPath) flake.packages.x86_64-linux",
    )?;
    let parents = ["base-image", "builder-image"];
    let images = images
        .into_iter()
        .filter(|(name, _)| name.ends_with("-image") && !parents.contains(&name.as_str()));
    let paths: Vec<String> = units
        .into_values()
        .chain(images.map(|(_, path)| path))
        .collect();
    ensure!(paths.len() > 200, "only {} outputs to compare", paths.len());

    let first = nix::hashes("auto", &paths)?;
    let again = nix::hashes(&second, &paths)?;
    ensure!(
        first.len() == paths.len(),
        "{} of {} are in the store",
        first.len(),
        paths.len()
    );
    let differing: Vec<&String> = paths
        .iter()
        .filter(|p| first.get(*p) != again.get(*p))
        .collect();
    ensure!(
        differing.is_empty(),
        "{} of {} differ: {differing:?}",
        differing.len(),
        paths.len()
    );
    println!("{} outputs have the same bytes in both stores", paths.len());
    Ok(())
}

/// Builds the units that the machine's store lacks. An image that is there does not need them, so
/// the garbage collector may have deleted them.
fn build_units() -> Result<()> {
    let derivations: BTreeMap<String, String> = nix::evaluate(
        &repository(),
        "builtins.mapAttrs (_: unit: unit.drvPath) flake.legacyPackages.x86_64-linux.units",
    )?;
    let realise = ["--realise".to_owned()];
    let arguments = realise.into_iter().chain(derivations.into_values());
    duct::cmd("nix-store", arguments)
        .env("NIX_CONFIG", nix::configuration())
        .stdout_null()
        .run()?;
    Ok(())
}

/// In the second store, Nix itself made the metadata units. The driver may take them from the
/// libraries instead, which hold the same metadata.
fn metadata_is_what_libraries_hold(store: &Path, units: &BTreeMap<String, String>) -> Result<()> {
    let physical = |path: &String| store.join(path.trim_start_matches('/'));
    let metadata = units.iter().filter(|(key, _)| key.contains("-metadata-"));
    let mut compared = 0;
    for (key, path) in metadata {
        let library = units.get(&key.replacen("-metadata-", "-", 1));
        let library = physical(library.with_context(|| format!("{key} has no library"))?);
        let made = physical(path);
        let files = std::fs::read_dir(made.join("files"))?;
        let mut names = vec!["unit.json".into(), "closure".into()];
        for file in files {
            let name = Path::new("files").join(file?.file_name());
            ensure!(
                name.extension() == Some("rmeta".as_ref()),
                "{key}: {name:?}"
            );
            names.push(name);
        }
        ensure!(names.len() == 3, "{key} has {names:?}");
        // The files that the library's code points to, if there are any.
        if library.join("points.json").exists() {
            names.push("points.json".into());
        }
        for name in names {
            let (one, other) = (made.join(&name), library.join(&name));
            ensure!(
                std::fs::read(&one)? == std::fs::read(&other)?,
                "{} is not {}",
                one.display(),
                other.display()
            );
        }
        compared += 1;
    }
    ensure!(compared > 10, "only {compared} metadata units");
    println!("{compared} metadata units hold what their libraries hold");
    Ok(())
}
