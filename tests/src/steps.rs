//! Steps: commands on an image's files, whose changes become layers.

use crate::checkout::{self, repository};
use crate::compose::refuses;
use crate::engine::{run, unpack};
use crate::nix;
use crate::trial::trial_with;
use crate::workspaces::{attribute, fetch};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("steps::{name}"), tools, run);
    vec![
        test(
            "what_they_change_is_in_the_image",
            &["umoci", "runc"],
            changed,
        ),
        test("they_have_the_same_bytes_again", &[], same_bytes),
        test("an_edit_runs_those_that_see_it", &[], precise),
        test("what_differs_is_refused_by_name", &[], differing),
        test("they_have_no_network", &["umoci"], no_network),
        test("other_ways_refuse_them_by_name", &[], refused),
    ]
}

/// Copies the workspace `mill`, and fetches the files that its locks pin.
fn mill() -> Result<TempDir> {
    let workspace = checkout::copy_of(&repository().join("tests/workspaces/mill"))?;
    fetch(workspace.path(), &workspace.path().join("debian.lock"))?;
    Ok(workspace)
}

fn image(workspace: &Path) -> String {
    attribute(workspace, "images.mill")
}

/// Another reader and a container see the files as the commands left them.
fn changed() -> Result<()> {
    let workspace = mill()?;
    let image = nix::build(&image(workspace.path()))?;
    let bundle = unpack(&image)?;
    let root = bundle.path().join("rootfs");
    let flour = fs::read_to_string(root.join("srv/flour"))?;
    ensure!(flour == "FLOUR\nwheat\n", "the flour is {flour:?}");
    for gone in ["srv/chaff", "usr/share/zoneinfo/Zulu"] {
        ensure!(!root.join(gone).exists(), "{gone} is still there");
    }
    ensure!(root.join("usr/share/zoneinfo/UTC").exists(), "all is gone");
    let caches = root.join("var/cache/ldconfig");
    ensure!(!caches.join("aux-cache").exists(), "aux-cache is there");
    // The image's own ldconfig reads the cache.
    let listed = run_program(&image, &["/usr/sbin/ldconfig", "-p"])?;
    ensure!(
        listed.contains("libc.so.6 (libc6,x86-64) => /"),
        "it lists\n{listed}"
    );
    let said = run(&image, &["bread"], "")?;
    ensure!(said == "BREAD\n", "the program says {said:?}");
    Ok(())
}

/// Runs a program of an image other than its entrypoint.
fn run_program(image: &Path, words: &[&str]) -> Result<String> {
    let bundle = unpack(image)?;
    let chroot = duct::cmd(
        "chroot",
        [bundle.path().join("rootfs").to_string_lossy().as_ref()]
            .iter()
            .chain(words),
    );
    chroot.read().with_context(|| format!("{words:?}"))
}

/// Nix makes each layer once more and compares.
fn same_bytes() -> Result<()> {
    let workspace = mill()?;
    let layers = layers(workspace.path())?;
    ensure!(layers.len() == 3, "the steps are {layers:?}");
    nix::build(&image(workspace.path()))?;
    for layer in &layers {
        let again = duct::cmd!("nix-store", "--realise", "--check", layer);
        let again = again.env("NIX_CONFIG", nix::configuration());
        again.stdout_null().run().with_context(|| layer.clone())?;
    }
    Ok(())
}

fn layers(workspace: &Path) -> Result<Vec<String>> {
    layers_of(&image(workspace))
}

/// Returns the derivations of the layers that the steps of an image make, in their order.
pub fn layers_of(image: &str) -> Result<Vec<String>> {
    let expression = format!("({image}).drvPath");
    let image = nix::nix(&["eval", "--impure", "--raw", "--expr", &expression])?;
    let all = duct::cmd!("nix-store", "--query", "--references", image.trim()).read()?;
    let mut layers: Vec<String> = all
        .lines()
        .filter(|path| nix::name_of(path).starts_with("layer-step-"))
        .map(str::to_owned)
        .collect();
    layers.sort_by_key(|path| nix::name_of(path));
    Ok(layers)
}

/// An edit of the code does not run the steps below it again.
fn precise() -> Result<()> {
    let workspace = mill()?;
    let before = layers(workspace.path())?;
    checkout::replace(workspace.path(), "src/main.rs", "Grinds", "Mills")?;
    let after = layers(workspace.path())?;
    let same: Vec<bool> = before
        .iter()
        .zip(&after)
        .map(|(one, two)| one == two)
        .collect();
    ensure!(same == [true, true, false], "these are the same: {same:?}");
    checkout::replace(workspace.path(), "images.toml", "wheat", "rye")?;
    let last = layers(workspace.path())?;
    ensure!(last[0] == after[0] && last[1] != after[1], "{last:?}");
    Ok(())
}

/// Makes the workspace with another script in its second step.
fn with_script(script: &str) -> Result<TempDir> {
    let workspace = mill()?;
    let old = "rm chaff /usr/share/zoneinfo/Zulu; echo $GRAIN > grain";
    checkout::replace(workspace.path(), "images.toml", old, script)?;
    Ok(workspace)
}

fn fails(script: &str, wanted: &[&str]) -> Result<()> {
    let workspace = with_script(script)?;
    let said = nix::build_fails(&image(workspace.path()))?;
    for wanted in wanted {
        ensure!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
    Ok(())
}

fn differing() -> Result<()> {
    fails(
        "date +%N > grain; date +%s > stamp",
        &["it was run twice, and these differ: /srv/grain, /srv/stamp"],
    )?;
    fails("chown 7 chaff", &["Invalid argument", "`directories` does"])?;
    fails(
        "grind",
        &["grind: not found", "exit code 127", "`packages`"],
    )
}

/// A program of the image that a step runs can't reach an address outside.
fn no_network() -> Result<()> {
    let workspace = mill()?;
    let main = "fn main() { if let Err(error) = std::net::TcpStream::connect(\"192.0.2.1:80\") { \
                println!(\"{error}\"); } }";
    fs::write(workspace.path().join("src/main.rs"), main)?;
    let image = nix::build(&image(workspace.path()))?;
    let root = unpack(&image)?;
    let flour = fs::read_to_string(root.path().join("rootfs/srv/flour"))?;
    ensure!(
        flour.contains("Network is unreachable"),
        "it says {flour:?}"
    );
    Ok(())
}

/// Only Nix runs steps. The other ways refuse them before they start.
fn refused() -> Result<()> {
    let workspace = mill()?;
    for (arguments, wanted) in [
        (
            &["build", "--engine", "cargo", "mill"][..],
            "can't run the step \"/usr/sbin/ldconfig\"",
        ),
        (
            &["dockerfile"],
            "the step `/usr/sbin/ldconfig` of the image `mill`",
        ),
    ] {
        refuses(workspace.path(), arguments, &[wanted, "assemble build"])?;
    }
    Ok(())
}
