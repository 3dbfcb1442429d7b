//! Crates from other registries than crates.io.

use crate::checkout::{assemble, repository};
use crate::served::serve;
use crate::trial::trial;
use crate::workspaces::binary;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial(
        "registries::an_alternative_one_and_one_in_place_of_crates_io".into(),
        both,
    )]
}

const MAIN: &str = "fn main() { print!(\"{} {}\", polite::greet(), copied::greet()); }\n";

/// `polite` comes from a private registry. `copied` comes from crates.io, which another registry
/// replaces.
fn both() -> Result<()> {
    let place = tempfile::tempdir()?;
    let own = registry(&place.path().join("own"), "polite")?;
    let copy = registry(&place.path().join("copy"), "copied")?;
    let workspace = place.path().join("workspace");
    write(
        &workspace.join("Cargo.toml"),
        "[package]\nname = \"caller\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n\
         polite = { version = \"1\", registry = \"own\" }\ncopied = \"1\"\n",
    )?;
    write(
        &workspace.join(".cargo/config.toml"),
        &format!(
            "[registries.own]\nindex = \"{own}\"\n\n[source.crates-io]\nreplace-with = \"copy\"\n\n\
             [source.copy]\nregistry = \"{copy}\"\n"
        ),
    )?;
    write(&workspace.join("src/main.rs"), MAIN)?;
    write(
        &workspace.join("images.toml"),
        "version = 1\n\n[images.caller]\nbinaries = [\"caller\"]\n",
    )?;
    let home = place.path().join("home");
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .env("CARGO_HOME", &home)
        .dir(&workspace)
        .run()?;
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
    ensure!(lock.contains(&own) && !lock.contains(&copy), "{lock}");
    let debian = repository().join("debian.lock");
    duct::cmd!(assemble(), "fetch", "--lock", debian)
        .env("CARGO_HOME", &home)
        .dir(&workspace)
        .stdout_null()
        .run()?;
    let said = duct::cmd!(binary(&workspace, "caller")?).read()?;
    ensure!(said == "polite copied", "the program says {said:?}");
    Ok(())
}

/// Makes a registry with one crate, whose function returns the crate's name. Returns the index:
/// `sparse+http://...`. <https://doc.rust-lang.org/cargo/reference/registry-index.html>
fn registry(place: &Path, name: &str) -> Result<String> {
    let package = place.join("package");
    write(
        &package.join("Cargo.toml"),
        &format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"),
    )?;
    let library = format!("pub fn greet() -> &'static str {{\n    \"{name}\"\n}}\n");
    write(&package.join("src/lib.rs"), &library)?;
    duct::cmd!("cargo", "package", "--quiet", "--no-verify", "--offline")
        .dir(&package)
        .env_remove("CARGO_TARGET_DIR")
        .stderr_null()
        .run()?;
    let file = format!("{name}-1.0.0.crate");
    let bytes = fs::read(package.join("target/package").join(&file))?;
    let served = place.join("served");
    fs::create_dir_all(served.join("crates"))?;
    fs::write(served.join("crates").join(&file), &bytes)?;
    let entry = json!({
        "name": name,
        "vers": "1.0.0",
        "deps": [],
        "features": {},
        "cksum": format!("{:x}", Sha256::digest(&bytes)),
        "yanked": false,
    });
    let (first, rest) = name.split_at_checked(2).context("a short name")?;
    let (second, _) = rest.split_at_checked(2).context("a short name")?;
    write(
        &served.join(first).join(second).join(name),
        &format!("{entry}\n"),
    )?;
    let url = serve(&served, None)?;
    let crates = format!("{url}/crates/{{crate}}-{{version}}.crate");
    write(
        &served.join("config.json"),
        &json!({ "dl": crates }).to_string(),
    )?;
    Ok(format!("sparse+{url}/"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    Ok(fs::write(path, text)?)
}
