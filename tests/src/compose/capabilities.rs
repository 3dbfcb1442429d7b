//! Capabilities of programs and files.

use super::{contains, refuses};
use crate::checkout::{assemble, repository};
use crate::engine::unpack;
use crate::trial::trial_with;
use crate::workspaces::{build, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// The tests of this file.
pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("compose::{name}"), tools, run);
    vec![
        test(
            "a_program_binds_a_low_port",
            &["umoci", "runc", "getcap"],
            low_port,
        ),
        test(
            "both_engines_give_files_capabilities",
            &["umoci", "getcap"],
            by_both_engines,
        ),
    ]
}

/// A program that listens on a port that only root may bind.
const MAIN: &str = "fn main() {\n    let listener = \
                    std::net::TcpListener::bind(\"0.0.0.0:80\");\n    println!(\"{:?}\", \
                    listener.map(|_| \"bound\").map_err(|error| error.kind()));\n}\n";

/// Makes a workspace with three images: of a program with the capability, of the same program
/// without it, and of a file.
fn workspace() -> Result<TempDir> {
    let workspace = small("low", MAIN, "")?;
    let images = "version = 1\n\n[images.low]\nbinaries = [\n{ package = \"low\", capabilities = \
                  [\"cap_net_bind_service\"] },\n]\n[images.low.variants.plain]\nbinaries = \
                  [\"low\"]\n\n[images.tools]\nbase = \"none\"\ntags = [\"1\"]\nfiles = [\n{ \
                  source = \"tool\", path = \"/tool\", capabilities = [\"cap_net_raw\", \
                  \"cap_bpf\"] },\n]\n";
    fs::write(workspace.path().join("images.toml"), images)?;
    fs::write(workspace.path().join("tool"), "a tool")?;
    Ok(workspace)
}

/// Returns getcap's line for a file of an image, without the file's name.
fn getcap(bundle: &TempDir, path: &str) -> Result<String> {
    let file = bundle.path().join("rootfs").join(path);
    let said = duct::cmd!("getcap", &file).read()?;
    let name = format!("{} ", file.display());
    Ok(said.strip_prefix(&name).unwrap_or(&said).to_owned())
}

/// Runs a bundle as its user with an empty set of capabilities, in a container that allows some.
fn run(bundle: &Path, allowed: &[&str]) -> Result<Output> {
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["noNewPrivileges"] = json!(false);
    config["process"]["capabilities"] = json!({ "bounding": allowed });
    fs::write(&path, config.to_string())?;
    let name = format!("crateyard-low-{}-{}", std::process::id(), allowed.len());
    let run = duct::cmd!("runc", "run", "--bundle", bundle, name);
    Ok(run.stdout_capture().stderr_capture().unchecked().run()?)
}

/// The user `nonroot` may bind port 80 with the capability and not without it. A container that
/// does not allow the capability does not start the program.
fn low_port() -> Result<()> {
    let workspace = workspace()?;
    let net = "CAP_NET_BIND_SERVICE";
    for (image, allowed, expected) in [
        ("low", &[net][..], "Ok(\"bound\")"),
        ("low-plain", &[net], "Err(PermissionDenied)"),
        ("low", &[], ""),
    ] {
        let bundle = unpack(&build(workspace.path(), &format!("images.{image}"))?)?;
        let found = getcap(&bundle, "usr/bin/low")?;
        let has = if image == "low" {
            "cap_net_bind_service=ep"
        } else {
            ""
        };
        ensure!(found == has, "getcap says {found:?} of {image}");
        let output = run(bundle.path(), allowed)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            said.trim() == expected,
            "{image} with {allowed:?}: {output:?}"
        );
        if allowed.is_empty() {
            let refusal = String::from_utf8_lossy(&output.stderr);
            ensure!(refusal.contains("operation not permitted"), "{refusal}");
        }
    }
    Ok(())
}

/// Nix and `--engine cargo` lower capabilities alike. No Dockerfile can set them, and the error
/// says so.
fn by_both_engines() -> Result<()> {
    let workspace = workspace()?;
    // This engine takes the description's sets from the lock.
    fs::copy(
        repository().join("debian.lock"),
        workspace.path().join("debian.lock"),
    )?;
    let cargos = ["build", "--engine", "cargo", "tools", "--json"];
    let cargos = duct::cmd(assemble(), cargos).dir(workspace.path()).read()?;
    let cargos: Value = serde_json::from_str(&cargos)?;
    let cargos = Path::new(cargos[0]["path"].as_str().context("no path")?);
    for layout in [&build(workspace.path(), "images.tools")?, cargos] {
        let found = getcap(&unpack(layout)?, "tool")?;
        ensure!(found == "cap_net_raw,cap_bpf=ep", "getcap says {found:?}");
        let listed = duct::cmd!(assemble(), "ls", layout).read()?;
        contains(&listed, &["/tool [cap_net_raw,cap_bpf=ep]"])?;
    }
    refuses(
        workspace.path(),
        &["dockerfile"],
        &[
            "the capabilities of `/usr/bin/low` of the image `low`",
            "the capabilities of `/tool` of the image `tools`",
        ],
    )
}
