//! Turns workspaces into running images without edits. Also tests the templates.

use crate::checkout::{self, assemble, repository};
use crate::engine::Container;
use crate::nix;
use crate::trial::trial_with;
use crate::workspaces::{attribute, fetch};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("init::{name}"), tools, run);
    let runs = &["umoci", "runc"];
    vec![
        test("makes_a_service_that_runs", runs, service_runs),
        test("keeps_what_is_there", &[], keeps_files),
        test("plan_names_the_command_that_locks", &[], not_locked_yet),
        test("says_what_sources_name", &[], says_what_it_guessed),
        test("refuses_a_workspace_without_binary", &[], no_binary),
        test("adds_images_to_a_flake_that_is_there", &[], other_flake),
        test(
            "knows_where_git_ends_and_what_it_ignores",
            &[],
            in_a_repository,
        ),
        test(
            "reads_a_workspace_whose_toolchain_is_missing",
            &["rustup"],
            no_toolchain,
        ),
        test("names_the_root_to_a_member", &[], in_a_member),
        test(
            "refuses_packages_outside_the_workspace",
            &[],
            packages_outside,
        ),
        test("writes_the_templates", &[], templates),
    ]
}

const TEMPLATES: [&str; 4] = ["service", "services", "c-dependencies", "chart"];

/// Copies a template without the files that `assemble init` writes.
fn bare(template: &str) -> Result<TempDir> {
    let copy = checkout::template(template)?;
    for name in ["flake.nix", "images.toml"] {
        fs::remove_file(copy.path().join(name))?;
    }
    Ok(copy)
}

/// Runs `assemble init`, and returns its output.
pub fn init(workspace: &Path, arguments: &[&str]) -> Result<String> {
    let mut all = vec!["init"];
    all.extend(arguments);
    let said = duct::cmd(assemble(), all).dir(workspace).stderr_to_stdout();
    said.read().context("assemble init failed")
}

fn service_runs() -> Result<()> {
    let workspace = bare("service")?;
    let url = format!("git+file://{}", repository().display());
    let said = init(workspace.path(), &["--crateyard", &url])?;
    ensure!(
        said.ends_with("assemble fetch\n  assemble build service"),
        "it says\n{said}"
    );
    fetch(workspace.path(), &repository().join("debian.lock"))?;
    let flake = format!("path:{}#service-image", workspace.path().display());
    let text = nix::nix(&["build", "--no-link", "--json", &flake])?;
    let built: serde_json::Value = serde_json::from_str(&text)?;
    let image = built[0]["outputs"]["out"].as_str().context("no output")?;
    let container = Container::start(&PathBuf::from(image), &[])?;
    container.until_logged("listening on 0.0.0.0:8080", Duration::from_secs(20))?;
    container.stop("KILL", Duration::from_secs(10))?;
    Ok(())
}

fn keeps_files() -> Result<()> {
    let workspace = bare("service")?;
    let own = "version = 1\n# mine\n[images.service]\nbinaries = [\"service\"]\n";
    fs::write(workspace.path().join("images.toml"), own)?;
    let said = init(workspace.path(), &[])?;
    ensure!(said.contains("kept  images.toml"), "it says\n{said}");
    let after = fs::read_to_string(workspace.path().join("images.toml"))?;
    ensure!(after == own, "images.toml was changed");
    Ok(())
}

/// Only `assemble fetch` and `assemble build` write flake.lock.
fn not_locked_yet() -> Result<()> {
    let workspace = bare("service")?;
    let url = format!("git+file://{}", repository().display());
    init(workspace.path(), &["--crateyard", &url])?;
    let plan = duct::cmd!(assemble(), "plan").dir(workspace.path());
    let output = plan.stderr_to_stdout().stdout_capture().unchecked().run()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        !output.status.success() && said.contains("flake lock, and commit flake.lock"),
        "it says\n{said}"
    );
    Ok(())
}

fn says_what_it_guessed() -> Result<()> {
    let workspace = bare("service")?;
    let write = |name: &str, text: &str| checkout::write(workspace.path(), name, text);
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"2\"\nmembers = [\"api\"]\n",
    )?;
    write("proto/api.proto", "")?;
    write("api/README.md", "# api\n")?;
    write(
        "api/Cargo.toml",
        "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    )?;
    write(
        "api/src/main.rs",
        "#![doc = include_str!(\"../README.md\")]\nfn main() { print!(\"{}\", \
         include_str!(\"../../proto/api.proto\")); }\n",
    )?;
    fs::remove_file(workspace.path().join("Cargo.lock"))?;
    fs::remove_dir_all(workspace.path().join("src"))?;
    let said = init(workspace.path(), &[])?;
    ensure!(
        said.contains("api sees ../proto/api.proto"),
        "it says\n{said}"
    );
    let text = fs::read_to_string(workspace.path().join("images.toml"))?;
    ensure!(
        text.contains("[crates.api]\nfiles = [\"../proto/api.proto\", \"README.md\"]"),
        "images.toml is\n{text}"
    );
    fetch(workspace.path(), &repository().join("debian.lock"))?;
    nix::build(&attribute(workspace.path(), "images.api"))?;
    Ok(())
}

fn no_binary() -> Result<()> {
    let workspace = bare("service")?;
    let sources = workspace.path().join("src");
    fs::rename(sources.join("main.rs"), sources.join("lib.rs"))?;
    let error = init(workspace.path(), &[])
        .err()
        .context("it did not fail")?;
    ensure!(!workspace.path().join("flake.nix").exists(), "{error:#}");
    Ok(())
}

/// A flake with other outputs stays as it is, and the printed lines complete it.
fn other_flake() -> Result<()> {
    let workspace = bare("service")?;
    let file = workspace.path().join("flake.nix");
    let theirs = "{ packages.x86_64-linux = { default = 1; tool = 2; }; other = 3; }";
    let before = format!("{{ outputs = {{ self }}: {theirs}; }}\n");
    fs::write(&file, &before)?;
    let url = format!("git+file://{}", repository().display());
    let said = init(workspace.path(), &["--crateyard", &url])?;
    ensure!(
        fs::read_to_string(&file)? == before,
        "flake.nix was changed"
    );
    let input = format!("inputs.crateyard.url = \"{url}\";");
    for line in [
        &input,
        "crateyard.lib.addImages { inherit self; src = ./.; } ( … );",
        "# add the lines above",
    ] {
        ensure!(said.contains(line), "no {line:?} in\n{said}");
    }
    fs::write(
        &file,
        format!(
            "{{\n  {input}\n  outputs = {{ self, crateyard, ... }}:\n  crateyard.lib.addImages {{ \
             inherit self; src = ./.; }} ( {theirs} );\n}}\n"
        ),
    )?;
    let flake = format!("path:{}", workspace.path().display());
    nix::nix(&["flake", "lock", &flake])?;
    let expression = format!(
        "let o = builtins.getFlake \"path:{}\"; p = o.packages.x86_64-linux; in {{ names = \
         builtins.attrNames p; inherit (p) default; inherit (o) other; }}",
        workspace.path().display()
    );
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    let found: serde_json::Value = serde_json::from_str(&text)?;
    let packages = found["names"].as_array().context("no packages")?;
    for name in ["tool", "service-image", "evaluation"] {
        ensure!(packages.contains(&name.into()), "no {name} in {text}");
    }
    ensure!(
        found["default"] == 1 && found["other"] == 3,
        "lost some of {text}"
    );
    let again = init(workspace.path(), &[])?;
    ensure!(
        again.contains("which already has images"),
        "it says\n{again}"
    );
    Ok(())
}

/// A workspace in a subdirectory of its repository, which ignores locks.
fn in_a_repository() -> Result<()> {
    let workspace = bare("service")?;
    let top = tempfile::tempdir()?;
    let below = top.path().join("services/web");
    fs::create_dir_all(&below)?;
    duct::cmd!("cp", "-rT", workspace.path(), &below).run()?;
    fs::write(top.path().join(".gitignore"), "target\nCargo.lock\n")?;
    fs::write(
        top.path().join(".gitmodules"),
        "[submodule \"x\"]\n\tpath = vendor/x\n\turl = ../x\n",
    )?;
    fs::create_dir(top.path().join(".cargo"))?;
    fs::write(
        top.path().join(".cargo/config.toml"),
        "[env]\nABOVE = \"1\"\n",
    )?;
    duct::cmd!("git", "init", "--quiet").dir(top.path()).run()?;
    duct::cmd!("git", "add", "--all").dir(top.path()).run()?;
    let url = format!("git+file://{}", repository().display());
    let said = init(&below, &["--crateyard", &url])?;
    for text in [
        "git ignores Cargo.lock (.gitignore:2:Cargo.lock)",
        "Nix leaves submodules out (vendor/x)",
        "/.cargo/config.toml, which is outside the workspace's directory",
        "\n  git add flake.nix images.toml\n  git add --force Cargo.lock\n",
    ] {
        ensure!(said.contains(text), "no {text:?} in\n{said}");
    }
    let lock = repository().join("debian.lock");
    for (untracked, cure) in [
        ("flake.nix", "git add flake.nix"),
        ("Cargo.lock", "git add --force Cargo.lock"),
    ] {
        let build = duct::cmd!(assemble(), "build", "service")
            .dir(&below)
            .stderr_capture();
        let output = build.unchecked().run()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && error.contains(cure),
            "without {untracked}:\n{error}"
        );
        duct::cmd!("git", "add", "flake.nix", "images.toml")
            .dir(&below)
            .run()?;
    }
    let (before, after) = said
        .split_once("\n  assemble fetch\n")
        .context("no fetch")?;
    ensure!(
        after.starts_with("  git add flake.lock\n"),
        "it says\n{said}"
    );
    for line in before
        .lines()
        .filter_map(|line| line.strip_prefix("  git "))
    {
        duct::cmd("git", line.split(' ')).dir(&below).run()?;
    }
    // Nix sees the workspace including its lock.
    let expression = "images: images.service-image.drvPath";
    let flake = format!("git+file://{}?dir=services/web", top.path().display());
    fetch(&below, &lock)?;
    let path = nix::nix(&[
        "eval",
        "--raw",
        &format!("{flake}#packages.x86_64-linux"),
        "--apply",
        expression,
    ])?;
    ensure!(path.ends_with("-service-image.drv"), "it is {path}");
    Ok(())
}

fn no_toolchain() -> Result<()> {
    let workspace = bare("service")?;
    let file = "[toolchain]\nchannel = \"1.99.7\"\n";
    fs::write(workspace.path().join("rust-toolchain.toml"), file)?;
    // This runs without the rustup settings of the user who runs the tests.
    let said = duct::cmd!(assemble(), "init")
        .dir(workspace.path())
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .stderr_to_stdout()
        .read()?;
    for text in [
        "rust-toolchain.toml names the toolchain 1.99.7, which rustup has not installed",
        "the compiler is Rust 1.99.7: rust-toolchain.toml says so",
        "assemble lock\n",
    ] {
        ensure!(said.contains(text), "no {text:?} in\n{said}");
    }
    Ok(())
}

fn in_a_member() -> Result<()> {
    let workspace = bare("services")?;
    let member = workspace.path().join("greeter");
    let output = duct::cmd!(assemble(), "init").dir(&member).stderr_capture();
    let output = output.unchecked().run()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it did not fail");
    ensure!(
        said.contains("assemble init --workspace"),
        "it says\n{said}"
    );
    ensure!(!member.join("images.toml").exists(), "it wrote images.toml");
    Ok(())
}

fn packages_outside() -> Result<()> {
    let top = tempfile::tempdir()?;
    for (name, more) in [
        ("server", "[workspace]\nmembers = [\"../tool\"]\n"),
        ("tool", "workspace = \"../server\"\n"),
        ("common", ""),
    ] {
        let directory = top.path().join(name);
        fs::create_dir_all(directory.join("src"))?;
        fs::write(directory.join("src/main.rs"), "fn main() {}\n")?;
        fs::write(directory.join("src/lib.rs"), "")?;
        let mut manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n{more}");
        if name == "server" {
            manifest += "[dependencies]\ncommon.path = \"../common\"\n";
        }
        fs::write(directory.join("Cargo.toml"), manifest)?;
    }
    let server = top.path().join("server");
    let output = duct::cmd!(assemble(), "init").dir(&server).stderr_capture();
    let output = output.unchecked().run()?;
    let said = String::from_utf8_lossy(&output.stderr);
    for text in [
        "the member tool, in ",
        "common, on which server depends, in ",
        "[workspace] into a directory above all packages",
    ] {
        ensure!(
            !output.status.success() && said.contains(text),
            "no {text:?} in\n{said}"
        );
    }
    ensure!(!server.join("images.toml").exists(), "it wrote images.toml");
    Ok(())
}

/// Each template equals the output of `assemble init` for its sources.
fn templates() -> Result<()> {
    for template in TEMPLATES {
        let copy = bare(template)?;
        init(copy.path(), &[])?;
        for name in ["flake.nix", "images.toml"] {
            let written = fs::read_to_string(copy.path().join(name))?;
            let kept = repository().join("nix/templates").join(template).join(name);
            ensure!(
                written == fs::read_to_string(&kept)?,
                "{} is not what assemble init writes:\n{written}",
                kept.display()
            );
        }
    }
    Ok(())
}
