//! Parts that npm makes, in crates and images.

use crate::checkout::{self, assemble, replace, repository};
use crate::engine::run;
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
    let test = |name: &str, tools: &[&str], run| trial_with(format!("npm::{name}"), tools, run);
    let runs = &["umoci", "runc"];
    vec![
        test("a_front_end_is_built_and_embedded", runs, embedded),
        test("packages_are_in_an_image", runs, in_an_image),
        test("parts_have_the_same_bytes_again", &[], same_bytes),
        test("packages_are_fetched_through_npm", &["npm"], fetched),
        test(
            "packages_in_directories_are_installed",
            &["npm"],
            in_a_directory,
        ),
        test("what_a_lock_leaves_open_is_refused", &[], refused),
        test("another_tarball_is_refused", &[], tampered),
    ]
}

/// Copies the template, and fetches the files that its locks pin.
fn template() -> Result<TempDir> {
    let copy = checkout::template("npm")?;
    fetch(copy.path(), &copy.path().join("debian.lock"))?;
    Ok(copy)
}

/// Returns an expression for a part alone.
fn part(workspace: &Path, name: &str) -> String {
    attribute(workspace, &format!("npmParts.{name}"))
}

/// The program holds the pages that esbuild made of the sources and of a package.
fn embedded() -> Result<()> {
    let workspace = template()?;
    let image = nix::build(&attribute(workspace.path(), "images.server"))?;
    let page = run(&image, &["print", "/"], "")?;
    ensure!(
        page.contains("<script src=\"main.js\">"),
        "the page is {page:?}"
    );
    let script = run(&image, &["print", "/main.js"], "")?;
    ensure!(
        script.contains("hello, visitor"),
        "the script is {script:?}"
    );
    ensure!(
        !script.contains("import "),
        "nothing was bundled: {script:?}"
    );
    Ok(())
}

/// A tool from npm runs with Debian's nodejs. Packages for development are not there.
fn in_an_image() -> Result<()> {
    let workspace = template()?;
    let image = nix::build(&attribute(workspace.path(), "images.nanoid"))?;
    let tool = "/usr/lib/tool/node_modules/nanoid/bin/nanoid.js";
    let said = run(&image, &[tool, "--size", "10"], "")?;
    ensure!(said.trim().len() == 10, "it says {said:?}");
    let sbom = fs::read_to_string(image.join("attestations/linux-amd64/sbom.spdx.json"))?;
    for wanted in ["pkg:npm/nanoid@5.0.9", "\"SHA512\"", "\"name\":\"modules\""] {
        ensure!(
            sbom.replace("\": ", "\":").contains(wanted),
            "no {wanted} in {sbom}"
        );
    }
    let modules = nix::build(&part(workspace.path(), "modules"))?.join("node_modules");
    ensure!(
        modules.join(".bin/nanoid").is_symlink(),
        "no link to the program"
    );
    ensure!(!modules.join("esbuild").exists(), "esbuild is installed");
    Ok(())
}

fn same_bytes() -> Result<()> {
    let workspace = template()?;
    for name in ["web", "modules"] {
        let expression = part(workspace.path(), name);
        nix::build(&expression)?;
        let again = [
            "build",
            "--impure",
            "--no-link",
            "--rebuild",
            "--expr",
            &expression,
        ];
        nix::nix(&again).with_context(|| format!("the part {name}"))?;
    }
    Ok(())
}

/// `assemble fetch` puts packages where the build looks for them, from the registry of npm's own
/// configuration. The lock of the template names no registry.
fn fetched() -> Result<()> {
    let workspace = template()?;
    let flake = format!(
        "{{ inputs.crateyard.url = \"git+file://{}\"; outputs = {{ self, crateyard }}: \
         crateyard.lib.mkFlake {{ src = self; }}; }}",
        repository().display()
    );
    fs::write(workspace.path().join("flake.nix"), flake)?;
    for arguments in [&["init", "--quiet"][..], &["add", "--all"]] {
        duct::cmd("git", arguments).dir(workspace.path()).run()?;
    }
    nix::nix(&["flake", "lock", &workspace.path().to_string_lossy()])?;
    duct::cmd!("git", "add", "--all")
        .dir(workspace.path())
        .run()?;
    let store = tempfile::tempdir()?;
    let output = duct::cmd!(
        assemble(),
        "fetch",
        "--store",
        store.path(),
        "--sets",
        "npm",
        "--json"
    )
    .dir(workspace.path())
    .read()?;
    let report: serde_json::Value = serde_json::from_str(&output)?;
    ensure!(report["npm"]["added"] == 3, "it added {}", report["npm"]);
    let names = fs::read_dir(store.path().join("nix/store"))?;
    let names: Vec<String> = names
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    for wanted in [
        "-nanoid-5.0.9.tgz",
        "-esbuild-0.25.0.tgz",
        "-esbuild-linux-x64-0.25.0.tgz",
    ] {
        ensure!(
            names.iter().any(|name| name.ends_with(wanted)),
            "no {wanted}"
        );
    }
    Ok(())
}

/// A package in a directory of the workspace. Debian's npm copies it.
fn in_a_directory() -> Result<()> {
    let workspace = template()?;
    let local = workspace.path().join("ui/local");
    fs::create_dir(&local)?;
    fs::write(
        local.join("package.json"),
        r#"{"name": "local", "version": "1.0.0", "main": "index.js"}"#,
    )?;
    fs::write(local.join("index.js"), "export default 'a local greeting';")?;
    let nanoid = "\"nanoid\": \"5.0.9\"";
    let both = format!("{nanoid},\n    \"local\": \"file:./local\"");
    replace(workspace.path(), "ui/package.json", nanoid, &both)?;
    let import = "import { nanoid } from \"nanoid\";";
    let more = format!("{import}\nimport greeting from \"local\";\ndocument.title = greeting;");
    replace(workspace.path(), "ui/src/main.js", import, &more)?;
    let install = duct::cmd!("npm", "install", "--package-lock-only", "--ignore-scripts");
    install
        .dir(workspace.path().join("ui"))
        .stdout_null()
        .run()?;
    let made = nix::build(&part(workspace.path(), "web"))?;
    let script = fs::read_to_string(made.join("main.js"))?;
    ensure!(
        script.contains("a local greeting"),
        "the script is {script:?}"
    );
    let modules = nix::build(&part(workspace.path(), "modules"))?.join("node_modules");
    let copied = modules.join("local/index.js");
    ensure!(copied.is_file(), "the part has no {}", copied.display());
    Ok(())
}

/// Returns Nix's message when it fails to make a part.
fn fails(workspace: &TempDir, name: &str) -> Result<String> {
    nix::build_fails(&part(workspace.path(), name))
}

fn refused() -> Result<()> {
    for (file, from, to, part, wanted) in [
        (
            "images.toml",
            "scripts = [\"esbuild\"]",
            "",
            "web",
            "Add to the part: scripts = [\"esbuild\"]",
        ),
        (
            "images.toml",
            "scripts = [\"esbuild\"]",
            "scripts = [\"esbuild\", \"nanoid\"]",
            "web",
            "has no package called \"nanoid\" with an install script",
        ),
        (
            "ui/package-lock.json",
            "      \"integrity\": \
             \"sha512-Aooyr6MXU6HpvvWXKoVoXwKMs/KyVakWwg7xQfv5/S/RIgJMy0Ifa45H9qqYy7pTCszrHzP21Uk4PZq2HpEM8Q==\",\n",
            "",
            "modules",
            "ui/package-lock.json: packages.\"node_modules/nanoid\": `nanoid` has no `integrity`",
        ),
        (
            "ui/package-lock.json",
            "      \"version\": \"5.0.9\",",
            "      \"version\": \"5.0.9\",\n      \"resolved\": \
             \"git+ssh://git@git.example/nanoid.git#0123\",",
            "modules",
            "`nanoid` comes from git+ssh://git@git.example/nanoid.git#0123",
        ),
        (
            "images.toml",
            "output = \"dist\"",
            "output = \"elsewhere\"",
            "web",
            "npm run build made no elsewhere, which `output` names",
        ),
    ] {
        let workspace = template()?;
        replace(workspace.path(), file, from, to)?;
        let said = fails(&workspace, part)?;
        ensure!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
    Ok(())
}

/// A tarball whose hash differs from the lock's reaches no build.
fn tampered() -> Result<()> {
    let workspace = template()?;
    replace(
        workspace.path(),
        "ui/package-lock.json",
        "sha512-Aooyr6MXU6Hpvv",
        "sha512-BooyR6MXU6Hpvv",
    )?;
    let said = fails(&workspace, "modules")?;
    ensure!(said.contains("hash mismatch"), "Nix says\n{said}");
    ensure!(said.contains("nanoid-5.0.9.tgz"), "Nix says\n{said}");
    Ok(())
}
