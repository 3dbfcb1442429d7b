//! Fourteen images of one service, each with another tool.

use crate::checkout::{self, replace};
use crate::engine::run;
use crate::nix;
use crate::trial::trial_with;
use crate::workspaces::{attribute, fetch};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("compose::{name}"), tools, run);
    vec![
        test("variants_compile_nothing_twice", &["npm"], compiled_once),
        test(
            "variants_run_their_tools",
            &["npm", "umoci", "runc"],
            tools_run,
        ),
    ]
}

/// The SHA-256 of the template's download for amd64.
const TINI: &str = "c5b0666b4cb676901f90dfcb37106783c5fe2077b04590973b885950611b30ee";

/// Copies the template. Another static program replaces the download.
fn template() -> Result<TempDir> {
    let copy = checkout::template("variants")?;
    let stand_in = copy.path().join("download-tini");
    let source = "fn main() { println!(\"a stand-in\") }";
    let flags = "-C target-feature=+crt-static -C strip=symbols --crate-name tini -";
    let flags = flags.split(' ').map(str::to_owned);
    let out = ["-o".to_owned(), stand_in.to_string_lossy().into_owned()];
    duct::cmd("rustc", out.into_iter().chain(flags))
        .stdin_bytes(source)
        .run()?;
    let digest = super::downloads::hex(&fs::read(&stand_in)?);
    duct::cmd!("nix-store", "--add-fixed", "sha256", &stand_in)
        .stdout_null()
        .run()?;
    fs::remove_file(&stand_in)?;
    replace(copy.path(), "images.toml", TINI, &digest)?;
    fetch(copy.path(), &copy.path().join("debian.lock"))?;
    Ok(copy)
}

/// Counts the derivations of each name that all images need.
fn derivations(workspace: &Path) -> Result<BTreeMap<String, usize>> {
    let images = attribute(workspace, "images");
    let expression = format!("builtins.mapAttrs (_: image: image.drvPath) {images}");
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    let images: BTreeMap<String, String> = serde_json::from_str(&text)?;
    ensure!(images.len() == 15, "there are {} images", images.len());
    let query = ["--query", "--requisites"].into_iter().map(str::to_owned);
    let all = duct::cmd("nix-store", query.chain(images.into_values())).read()?;
    let mut names = BTreeMap::new();
    for path in all.lines().filter(|path| path.ends_with(".drv")) {
        *names.entry(nix::name_of(path)).or_default() += 1;
    }
    Ok(names)
}

/// One derivation compiles the service for all of them, and equal layers are one derivation.
fn compiled_once() -> Result<()> {
    let names = derivations(template()?.path())?;
    let count = |name: &str| names.get(name).copied().unwrap_or(0);
    for (name, wanted) in [
        ("agent-0.1.0-bin-agent", 1),
        ("layer-base", 1),
        ("layer-packages", 1),
        ("layer-accounts", 1),
        ("layer-binary-agent", 1),
        ("layer-files", 14),
        ("part-semver", 1),
        ("part-uuid", 1),
    ] {
        ensure!(
            count(name) == wanted,
            "{} of {name} in {names:#?}",
            count(name)
        );
    }
    let units = names.keys().filter(|name| name.starts_with("agent-0.1.0-"));
    ensure!(units.count() == 1, "more is compiled: {names:#?}");
    Ok(())
}

/// All images are built, and some are run.
fn tools_run() -> Result<()> {
    let workspace = template()?;
    let images = attribute(workspace.path(), "images");
    nix::build_all(&format!("builtins.attrValues {images}"))?;
    for (name, arguments, wanted) in [
        ("semver", &["--range", ">=2", "1.9.9", "2.1.0"][..], "2.1.0"),
        ("mime", &["index.html"], "text/html"),
        ("tini", &[], "a stand-in"),
    ] {
        let image = nix::build(&attribute(
            workspace.path(),
            &format!("images.agent-{name}"),
        ))?;
        let arguments: Vec<&str> = ["run"].iter().chain(arguments).copied().collect();
        let said = run(&image, &arguments, "").with_context(|| name.to_owned())?;
        ensure!(said.starts_with(wanted), "{name} says {said:?}");
    }
    Ok(())
}
