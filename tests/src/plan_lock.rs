//! A workspace that keeps its plan in `plan.lock` is evaluated without import from derivation, with
//! the same derivations. With the plan of another workspace, nothing is built unnoticed.

use crate::checkout::{Checkout, assemble, git, template, write};
use crate::flake::MACS;
use crate::nix;
use crate::release::Release;
use crate::trial::{ignorable, trial};
use anyhow::{Context, Result, ensure};
use libtest_mimic::{Completion, Trial};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("plan_lock::{name}"), run);
    vec![
        test("evaluates_without_import_from_derivation", evaluates),
        ignorable(
            "plan_lock::evaluates_all_systems_by_a_newer_nix".to_owned(),
            all_systems,
        ),
        test("that_is_stale_is_never_used", stale),
        test("with_other_content_is_refused", tampered),
    ]
}

/// The arguments that forbid import from derivation.
const WITHOUT: [&str; 3] = ["--option", "allow-import-from-derivation", "false"];

/// The command that error messages must name.
const CURE: &str = "assemble plan --write";

/// A repository with a workspace of one service.
struct Service {
    directory: TempDir,
    crateyard: Checkout,
}

impl Service {
    fn new() -> Result<Self> {
        let crateyard = Checkout::new()?;
        let directory = template("service")?;
        let root = directory.path();
        let flake = format!(
            "{{\n  inputs.crateyard.url = \"path:{}\";\n  outputs = {{ self, crateyard }}: \
             crateyard.lib.mkFlake {{ src = self; }};\n}}\n",
            crateyard.path().display()
        );
        fs::write(root.join("flake.nix"), flake)?;
        git(root, &["init", "--quiet"])?;
        let service = Self {
            directory,
            crateyard,
        };
        service.track()?;
        nix::nix(&["flake", "lock", &service.flake()])?;
        service.track()?;
        service.assemble(&["fetch"])?;
        Ok(service)
    }

    /// Makes the same workspace with a kept plan.
    fn with_plan() -> Result<Self> {
        let service = Self::new()?;
        service.assemble(&["plan", "--write"])?;
        service.track()?;
        Ok(service)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn flake(&self) -> String {
        format!("git+file://{}", self.path().display())
    }

    fn track(&self) -> Result<()> {
        git(self.path(), &["add", "--all"]).map(|_| ())
    }

    fn assemble(&self, arguments: &[&str]) -> Result<String> {
        duct::cmd(assemble(), arguments)
            .dir(self.path())
            .read()
            .with_context(|| format!("assemble {} failed", arguments.join(" ")))
    }

    /// Runs `assemble build`, which must fail, and returns its messages.
    fn build_fails(&self) -> Result<String> {
        let output = duct::cmd!(assemble(), "build")
            .dir(self.path())
            .stderr_to_stdout()
            .stdout_capture()
            .unchecked()
            .run()?;
        ensure!(!output.status.success(), "assemble build did not fail");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns the derivation of the image.
    fn image(&self, arguments: &[&str]) -> Result<String> {
        let image = format!("{}#service-image.drvPath", self.flake());
        nix::nix(&[&["eval", "--raw", &image], arguments].concat())
    }

    fn check(&self) -> String {
        format!("{}#checks.x86_64-linux.plan-is-current", self.flake())
    }

    /// Returns a file of the plan.
    fn kept(&self, name: &str) -> Result<PathBuf> {
        let entries = fs::read_dir(self.path().join("plan.lock"))?;
        for entry in entries {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(name) {
                return Ok(path);
            }
        }
        anyhow::bail!("plan.lock has no {name}")
    }
}

fn evaluates() -> Result<()> {
    let service = Service::new()?;
    let expected = service.image(&[])?;
    let said = nix::nix_fails(
        &[
            &[
                "eval",
                &format!("{}#service-image.drvPath", service.flake()),
            ],
            &WITHOUT[..],
        ]
        .concat(),
    )?;
    ensure!(said.contains("allow-import-from-derivation"), "{said}");

    let said = service.assemble(&["plan", "--write"])?;
    ensure!(said.contains("git add"), "it says\n{said}");
    service.track()?;
    let found = service.image(&WITHOUT)?;
    ensure!(found == expected, "{found} is not {expected}");
    for system in MACS {
        let image = format!(
            "{}#packages.{system}.service-image.drvPath",
            service.flake()
        );
        let found = nix::nix(&[&["eval", "--raw", &image], &WITHOUT[..]].concat())?;
        ensure!(found == expected, "{system}: {found} is not {expected}");
    }
    // Evaluates all outputs, and builds nothing.
    let check = ["flake", "check", "--no-build"];
    nix::nix(&[&check, &WITHOUT[..], &[&service.flake()]].concat())?;
    nix::nix(&[&["build", "--no-link", &service.check()], &WITHOUT[..]].concat())?;
    let said = service.assemble(&["plan", "--write"])?;
    ensure!(said.contains("is current"), "it says\n{said}");

    // Edits of files that the plan does not read change nothing.
    let main = service.path().join("src/main.rs");
    let text = fs::read_to_string(&main)?;
    fs::write(&main, text + "\n// edited\n")?;
    service.image(&WITHOUT)?;
    Ok(())
}

/// Runs a command of Nix in an empty store, in which `nix flake check --no-build` adds nothing.
const IN_EMPTY_STORE: &str =
    r#"store=$(mktemp -d); trap 'rm -rf "$store"' EXIT; "$@" --store "$store""#;

/// Nix 2.8 looks at all systems by itself, and newer versions only with `--all-systems`.
fn all_systems() -> Result<Completion> {
    let release = match Release::with_nix("sid") {
        Ok(release) => release,
        Err(why) => return Ok(Completion::ignored_with(format!("{why:#}"))),
    };
    let service = Service::with_plan()?;
    let directories = [service.path(), service.crateyard.path()];
    let settings = [("NIX_CONFIG", nix::SETTINGS)];
    let flake = service.flake();
    for command in [
        &["nix", "flake", "check", "--no-build", "--all-systems"][..],
        &["nix", "flake", "show", "--all-systems", "--json"],
    ] {
        let words = [command, &WITHOUT, &[&flake]].concat();
        let words = [&["sh", "-c", IN_EMPTY_STORE, "sh"], &words[..]].concat();
        let (shown, _) = release.run(&directories, &settings, &words)?;
        for system in MACS.iter().filter(|_| command.contains(&"show")) {
            ensure!(shown.contains(system), "{system} is not shown");
        }
    }
    Ok(Completion::Completed)
}

fn stale() -> Result<()> {
    let service = Service::with_plan()?;
    write(service.path(), "src/bin/other.rs", "fn main() {}\n")?;
    service.track()?;
    let expected = {
        let other = service.path().join("plan.lock");
        let aside = service.path().join("aside");
        fs::rename(&other, &aside)?;
        git(
            service.path(),
            &["rm", "-r", "--quiet", "--cached", "plan.lock"],
        )?;
        let expected = service.image(&[])?;
        fs::rename(&aside, &other)?;
        service.track()?;
        expected
    };
    let found = service.image(&[])?;
    ensure!(found == expected, "{found} is not {expected}");
    let image = format!("{}#service-image.drvPath", service.flake());
    let said = nix::nix_fails(&[&["eval", &image], &WITHOUT[..]].concat())?;
    ensure!(said.contains(CURE), "it says\n{said}");
    let said = nix::nix_fails(&["build", "--no-link", "-L", &service.check()])?;
    ensure!(said.contains(CURE), "it says\n{said}");
    let said = service.build_fails()?;
    ensure!(said.contains(CURE), "it says\n{said}");
    service.assemble(&["plan", "--write"])?;
    service.track()?;
    ensure!(service.image(&WITHOUT)? == expected, "another image");
    Ok(())
}

fn tampered() -> Result<()> {
    let service = Service::with_plan()?;
    let plan = service.kept("-plan.json")?;
    let text = fs::read_to_string(&plan)?;
    let other = text.replace("--edition=2021", "--edition=2018");
    ensure!(other != text, "the plan has no edition: {text}");
    fs::write(&plan, other)?;
    service.track()?;
    let said = nix::nix_fails(&["build", "--no-link", "-L", &service.check()])?;
    ensure!(said.contains(CURE), "it says\n{said}");
    let said = service.build_fails()?;
    ensure!(
        said.contains("-plan.json") && said.contains(CURE),
        "it says\n{said}"
    );
    // The same for a description that does not match the plan.
    let description = service.kept("-description.json")?;
    let text = fs::read_to_string(&description)?;
    fs::write(&description, text.replace("\"service\"", "\"s3rvice\""))?;
    service.track()?;
    let said = service.build_fails()?;
    ensure!(said.contains(CURE), "it says\n{said}");
    service.assemble(&["plan", "--write"])?;
    service.track()?;
    service.assemble(&["build"])?;
    Ok(())
}
