//! Parts that a flake hands over to images and crates.

use super::{contains, dependencies, holds, only_itoa_sees, refuses};
use crate::checkout::{self, repository};
use crate::engine::{run, unpack};
use crate::nix;
use crate::trial::trial_with;
use crate::workspaces::{fetch, small, without_hash};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The tests of this file.
pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("compose::{name}"), tools, run);
    let runs = &["umoci", "runc"];
    vec![
        test("a_macro_embeds_a_part", runs, embedded),
        test("an_image_holds_a_part", &["umoci"], copied),
        test("a_part_builds_only_its_crate_again", &[], precise),
        test("a_registrys_crate_sees_a_part", &[], of_a_registry),
        test("a_part_that_is_not_handed_over_is_named", &[], undeclared),
        test("other_ways_refuse_parts_by_name", &[], refused),
    ]
}

/// Copies the template. A page that the part does not have is in the part's place, as in a
/// checkout.
fn template() -> Result<TempDir> {
    let copy = checkout::template("front-end")?;
    let stub = copy.path().join("web/dist");
    fs::create_dir_all(&stub)?;
    fs::write(stub.join("index.html"), "a stub")?;
    fetch(copy.path(), &repository().join("debian.lock"))?;
    Ok(copy)
}

/// Returns an expression for an attribute of a workspace's images, with parts as Nix has them.
fn with_parts(workspace: &Path, parts: &str, path: &str) -> String {
    format!(
        "((builtins.getFlake \"git+file://{}\").lib.mkImages {{ src = {}; parts = {parts}; \
         }}).{path}",
        repository().display(),
        workspace.display()
    )
}

fn image(workspace: &Path, parts: &str, name: &str) -> Result<PathBuf> {
    nix::build(&with_parts(workspace, parts, &format!("images.{name}")))
}

/// The program holds the part's pages, not those that the checkout has in its place. Another part,
/// which nothing names, is not evaluated.
fn embedded() -> Result<()> {
    let copy = template()?;
    let parts = format!(
        "{{ web = {}/web/public; unused = throw \"evaluated\"; }}",
        copy.path().display()
    );
    let image = image(copy.path(), &parts, "front-end")?;
    let page = fs::read_to_string(copy.path().join("web/public/index.html"))?;
    let said = run(&image, &["print", "/"], "")?;
    ensure!(said.trim() == page.trim(), "the page is\n{said}");
    let script = run(&image, &["print", "app.js"], "")?;
    ensure!(script.contains("Hello"), "the script is\n{script}");
    Ok(())
}

/// A derivation's output as a part, and one file of it.
fn copied() -> Result<()> {
    let copy = template()?;
    let one = "{ part = \"web\", path = \"/srv/www\" }";
    let two = format!(
        "{one}, {{ part = \"web\", from = \"js/app.js\", path = \"/srv/\", mode = \"0600\" }}"
    );
    checkout::replace(copy.path(), "images.toml", one, &two)?;
    let parts = format!(
        "system: let foundation = (builtins.getFlake \"git+file://{}\").lib.foundationFor system; \
         in {{ web = foundation.cell {{ name = \"web\"; roots = [ foundation.tools ]; program = \
         \"/usr/bin/sh\"; args = [ \"-c\" \"export PATH=/usr/bin; mkdir -p $out/js && echo 42 > \
         $out/js/app.js\" ]; }}; }}",
        repository().display()
    );
    let image = image(copy.path(), &parts, "pages")?;
    let files = dependencies(&image)?;
    let mut file = files.iter().filter(|it| it["name"] == "part:web/js/app.js");
    let digest = file.next().map(|it| it["digest"]["sha256"].as_str());
    // sha256sum of the part's only file.
    let content = "084c799cd551dd1d8d5c5f9a5d593b2e931f5e36122ee5c793c1d08a19839cc0";
    ensure!(digest == Some(Some(content)), "it is made of {files:#?}");
    let bundle = unpack(&image)?;
    for (path, mode) in [("srv/www/js/app.js", 0o644), ("srv/app.js", 0o600)] {
        holds(&bundle.path().join("rootfs"), path, "42\n", mode)?;
    }
    Ok(())
}

/// Maps the key of each unit to its derivation.
fn derivations(workspace: &Path, parts: &str) -> Result<BTreeMap<String, String>> {
    let units = with_parts(workspace, parts, "units");
    let expression = format!("builtins.mapAttrs (_: unit: unit.drvPath) {units}");
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    Ok(serde_json::from_str(&text)?)
}

/// If the part's content changes, only the units of the crate that names it are built again. If the
/// same content moves, or other files beside the part change, nothing is built.
fn precise() -> Result<()> {
    let copy = template()?;
    let [first, second] = [tempfile::tempdir()?, tempfile::tempdir()?];
    for directory in [&first, &second] {
        fs::create_dir(directory.path().join("dist"))?;
        fs::write(directory.path().join("dist/index.html"), "one")?;
    }
    let of = |directory: &TempDir| {
        let parts = format!("{{ web = {}/dist; }}", directory.path().display());
        derivations(copy.path(), &parts)
    };
    let before = of(&first)?;
    fs::write(second.path().join("beside.html"), "two")?;
    fs::write(copy.path().join("web/dist/index.html"), "another stub")?;
    ensure!(before == of(&second)?, "files beside a part are read");
    fs::write(second.path().join("dist/index.html"), "two")?;
    let after = of(&second)?;
    let changed = before.keys().filter(|key| after[*key] != before[*key]);
    let changed: Vec<&str> = changed.map(|key| without_hash(key)).collect();
    ensure!(
        changed == ["front-end-0.1.0-bin-front-end"],
        "these are built again: {changed:?}"
    );
    Ok(())
}

/// A part in the directory of a crate of the registry.
fn of_a_registry() -> Result<()> {
    let workspace = small("registered", "fn main() {}", "")?;
    let add = |text: &str| -> Result<()> {
        let path = workspace.path().join("images.toml");
        Ok(fs::write(&path, fs::read_to_string(&path)? + text)?)
    };
    add("[crates.itoa]\nparts = [{ part = \"data\", path = \"data/in\", from = \"a.bin\" }]\n")?;
    let part = tempfile::tempdir()?;
    fs::write(part.path().join("a.bin"), "data")?;
    let parts = format!("{{ data = {}; }}", part.path().display());
    let units = with_parts(workspace.path(), &parts, "units");
    only_itoa_sees(&units, "data/in", "-part-data/a.bin")?;
    image(workspace.path(), &parts, "registered").map(|_| ())
}

/// The message names the path and the line that helps.
fn undeclared() -> Result<()> {
    let copy = template()?;
    let expression = with_parts(copy.path(), "{ wob = ./.; }", "all");
    let said = nix::build_fails(&expression)?;
    contains(
        &said,
        &[
            "images.toml:6:19: error: the flake passes no part `web`",
            "did you mean `wob`?",
            "add `parts.web = …;`",
        ],
    )
}

/// Only Nix has parts. The other ways refuse them before they start.
fn refused() -> Result<()> {
    let copy = template()?;
    for (arguments, wanted) in [
        (
            &["build", "--engine", "cargo", "front-end"][..],
            "this engine can't make the part `web`",
        ),
        (
            &["dockerfile"],
            "the part `web` of the crate `front-end`, the part `web` of the image `pages`",
        ),
    ] {
        refuses(copy.path(), arguments, &[wanted, "assemble build"])?;
    }
    Ok(())
}
