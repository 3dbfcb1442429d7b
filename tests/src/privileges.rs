//! Builds a workspace where less is permitted than usual: without namespaces as root, without
//! namespaces as a user without any privileges, and as a user whom Nix's daemon does not trust. The
//! derivations and the bytes are always the same. `docs/privileges.md` explains how that works.
//!
//! `PRIVILEGES_WORKSPACE` and `PRIVILEGES_IMAGE` name another workspace and its image for the first
//! three.

mod container;

use crate::checkout::{self, Checkout, assemble, git};
use crate::nix;
use crate::trial::ignorable;
use crate::workspaces::{attribute, locked};
use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Completion, Trial};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test =
        |name, run: fn() -> Result<Completion>| ignorable(format!("privileges::{name}"), run);
    vec![
        test("root_in_a_container_builds_the_same_bytes", || {
            built_elsewhere(&Way::Container { user: 0 })
        }),
        test("a_user_in_a_container_builds_the_same_bytes", || {
            built_elsewhere(&Way::Container { user: NOBODY_ELSE })
        }),
        test("a_user_without_namespaces_builds_the_same_bytes", || {
            built_elsewhere(&Way::Forbidden)
        }),
        test("a_user_whom_the_daemon_does_not_trust_builds", untrusted),
    ]
}

/// The user of images that are to run without privileges. No machine has an account for it.
const NOBODY_ELSE: u32 = 65532;

/// The exit code of the scripts if the machine can't make the place.
const IMPOSSIBLE: i32 = 99;

const PLACE: &str = include_str!("privileges/place.sh");
const BUILD: &str = include_str!("privileges/build.sh");
const WITHOUT_NAMESPACES: &str = include_str!("privileges/without-namespaces.sh");
const MANY_USERS: &str = include_str!("privileges/many-users.sh");

/// A place without namespaces.
enum Way {
    /// A container with the capabilities and the filter that an engine gives by default.
    Container { user: u32 },
    /// A user, where the kernel forbids namespaces.
    Forbidden,
}

impl Way {
    fn user(&self) -> u32 {
        match self {
            Self::Container { user } => *user,
            Self::Forbidden => NOBODY_ELSE,
        }
    }
}

/// The derivations to build: everything between the toolchain and the image.
#[derive(Deserialize)]
struct Wanted {
    image: String,
    imported: Vec<String>,
    units: Vec<String>,
}

impl Wanted {
    fn of(workspace: &Path, image: &str) -> Result<Self> {
        let expression = format!(
            "let made = {}; in {{ image = made.images.{image}.drvPath; \
             imported = [ made.targets.drvPath made.description.drvPath made.plan.drvPath ]; \
             units = map (unit: unit.drvPath) (builtins.attrValues made.units); }}",
            attribute(workspace, "all").trim_end_matches(".all")
        );
        let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
        serde_json::from_str(&text).context("nix eval printed something else than expected")
    }

    /// Returns all derivations: what evaluation reads, the image, its layers and its units.
    fn derivations(&self) -> Result<BTreeSet<String>> {
        let closure = store(&["--query", "--requisites", &self.image])?;
        let is_wanted = |path: &&str| {
            let is_layer = path.ends_with(".drv") && nix::name_of(path).starts_with("layer-");
            is_layer || self.units.iter().any(|unit| unit == path)
        };
        let needed = closure.lines().filter(is_wanted).map(str::to_owned);
        let all = self.imported.iter().chain([&self.image]).cloned();
        Ok(all.chain(needed).collect())
    }
}

/// A directory with another view of the machine's store, which lacks the paths to build.
struct Place {
    directory: TempDir,
    /// Maps outputs to the hashes of this machine's own builds with namespaces.
    expected: BTreeMap<String, String>,
}

impl Place {
    fn new(wanted: &Wanted) -> Result<Self> {
        let derivations: Vec<String> = wanted.derivations()?.into_iter().collect();
        let all: Vec<&str> = derivations.iter().map(String::as_str).collect();
        store(&[&["--realise"], &all[..]].concat())?;
        let outputs = store(&[&["--query", "--outputs"], &all[..]].concat())?;
        let missing: Vec<&str> = outputs.lines().collect();
        ensure!(missing.len() > 15, "only {} to build", missing.len());
        let hashes = store(&[&["--query", "--hash"], &missing[..]].concat())?;
        let query = ["--query", "--requisites", "--include-outputs"];
        let closure = store(&[&query, &all[..]].concat())?;
        let others: Vec<&str> = closure
            .lines()
            .filter(|path| !missing.contains(path))
            .collect();
        let registration = store(&[&["--dump-db"], &others[..]].concat())?;

        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let owned = |path: &&str| (*path).to_owned();
        let place = Self {
            expected: missing
                .iter()
                .map(owned)
                .zip(hashes.lines().map(str::to_owned))
                .collect(),
            directory,
        };
        place.write("missing", &lines(&missing))?;
        place.write("derivations", &lines(&all))?;
        place.write("registration", &(registration + "\n"))?;
        for (name, script) in [
            ("place.sh", PLACE),
            ("build.sh", BUILD),
            ("without-namespaces.sh", WITHOUT_NAMESPACES),
            ("many-users.sh", MANY_USERS),
        ] {
            place.write(name, script)?;
        }
        Ok(place)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        checkout::write(self.path(), name, text)
    }

    /// Returns the path of a file in it.
    fn file(&self, name: &str) -> String {
        self.path().join(name).to_string_lossy().into_owned()
    }

    /// Runs a command in it. The store belongs to this user. `None` if the machine can't make the
    /// place.
    fn run(&self, user: u32, settings: &str, command: &[String]) -> Result<Option<Output>> {
        let output = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(["--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", &self.file("place.sh"), &self.file("")])
            .arg(user.to_string())
            .args(command)
            .env("NIX_CONFIG", format!("{}{settings}", nix::SETTINGS))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(Some(output)),
            Some(IMPOSSIBLE) => Ok(None),
            _ => bail!("{command:?} ended with {}:\n{said}", output.status),
        }
    }

    /// Compares hashes, one a line, with those of the same outputs on this machine.
    fn compare(&self, hashes: &[&str]) -> Result<()> {
        let text = fs::read_to_string(self.path().join("missing"))?;
        let outputs: Vec<&str> = text.lines().collect();
        ensure!(
            hashes.len() == outputs.len(),
            "these are the hashes: {hashes:?}"
        );
        let pairs = outputs.iter().zip(hashes);
        let differing: Vec<_> = pairs
            .filter(|(output, hash)| {
                self.expected.get(**output).map(String::as_str) != Some(**hash)
            })
            .collect();
        ensure!(differing.is_empty(), "these differ: {differing:?}");
        println!("{} outputs have the same bytes", outputs.len());
        Ok(())
    }
}

fn lines(all: &[&str]) -> String {
    all.join("\n") + "\n"
}

/// Runs `nix-store` on this machine.
fn store(arguments: &[&str]) -> Result<String> {
    duct::cmd("nix-store", arguments)
        .env("NIX_CONFIG", nix::configuration())
        .read()
        .with_context(|| format!("nix-store {} failed", arguments[0]))
}

/// Returns the reason why this machine can't make such places.
fn impossible() -> Option<&'static str> {
    let is_root = duct::cmd!("id", "-u").read().is_ok_and(|id| id == "0");
    (!is_root).then_some("only root can show a command another store")
}

/// Returns the derivations of the workspace that the environment names, or of a small one.
fn chosen() -> Result<Wanted> {
    let variable = |name| std::env::var(format!("PRIVILEGES_{name}"));
    let Ok(workspace) = variable("WORKSPACE") else {
        return Wanted::of(&locked("ledger")?, "ledger");
    };
    Wanted::of(&Path::new(&workspace).canonicalize()?, &variable("IMAGE")?)
}

/// Builds the workspace in a place without namespaces.
fn built_elsewhere(way: &Way) -> Result<Completion> {
    if let Some(why) = impossible() {
        return Ok(Completion::ignored_with(why));
    }
    if matches!(way, Way::Container { .. }) && which::which("runc").is_err() {
        return Ok(Completion::ignored_with("runc is not installed"));
    }
    let place = Place::new(&chosen()?)?;
    let build = ["sh".to_owned(), place.file("build.sh"), place.file("")];
    let command = match way {
        Way::Container { user } => container::command(place.path(), *user, &build)?,
        Way::Forbidden => {
            let script = place.file("without-namespaces.sh");
            let mut command = vec!["sh".to_owned(), script, place.file("")];
            command.extend(build);
            command
        }
    };
    // Root builds without build users, as in images that contain Nix.
    let Some(output) = place.run(way.user(), "build-users-group =\n", &command)? else {
        return Ok(Completion::ignored_with(
            "no overlayfs or no limit of namespaces can be made here",
        ));
    };
    let printed = String::from_utf8(output.stdout)?;
    let (who, hashes) = printed.split_once('\n').context("nothing was printed")?;
    ensure!(who.starts_with(&format!("user {}", way.user())), "{who}");
    let is_bare = who.ends_with("capabilities 0000000000000000");
    ensure!(is_bare == (way.user() != 0), "{who}");
    place.compare(&hashes.lines().collect::<Vec<_>>())?;
    Ok(Completion::Completed)
}

const DAEMON: &str = "trusted-users = root
allowed-users = nobody
build-users-group = place
";

/// Builds as a user whom the daemon does not trust. One message says what that costs.
fn untrusted() -> Result<Completion> {
    if let Some(why) = impossible() {
        return Ok(Completion::ignored_with(why));
    }
    let workspace = locked("ledger")?;
    // The plan knows the names of all files, and the copy has one more: its flake.lock.
    let wanted = Wanted {
        imported: Vec::new(),
        ..Wanted::of(&workspace, "ledger")?
    };
    let place = Place::new(&wanted)?;
    place.write("conf/nix.conf", &format!("{}{DAEMON}", nix::SETTINGS))?;
    copy_workspace(&place, &workspace)?;
    let program = place.file("assemble");
    fs::copy(assemble(), &program)?;
    let mut command = ["bash", &place.file("many-users.sh"), &place.file("")]
        .map(str::to_owned)
        .to_vec();
    command.extend([&program, "build", "--json"].map(str::to_owned));
    let Some(output) = place.run(0, "", &command)? else {
        return Ok(Completion::ignored_with("no overlayfs can be mounted here"));
    };

    let said = String::from_utf8(output.stderr)?;
    let note = "the Nix daemon does not trust nobody: everything builds, but Nix ignores `--cache`";
    ensure!(said.matches(note).count() == 1, "it says\n{said}");
    let images: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let path = images[0]["path"].as_str().context("no image was built")?;
    ensure!(place.expected.contains_key(path), "it built {path}");
    let hashes = fs::read_to_string(place.path().join("hashes"))?;
    place.compare(&hashes.lines().collect::<Vec<_>>())?;
    Ok(Completion::Completed)
}

/// Copies the workspace and Crateyard to where the user can read them.
fn copy_workspace(place: &Place, workspace: &Path) -> Result<()> {
    let checkout = Checkout::new()?;
    duct::cmd!("cp", "-rT", checkout.path(), place.path().join("crateyard")).run()?;
    duct::cmd!("rm", "-rf", place.path().join("crateyard/.git")).run()?;
    let root = place.path().join("workspace");
    duct::cmd!("cp", "-rT", workspace, &root).run()?;
    let flake = format!(
        "{{\n  inputs.crateyard.url = \"path:{}\";\n  outputs = {{ self, crateyard }}: \
         crateyard.lib.mkFlake {{ src = self; }};\n}}\n",
        place.file("crateyard")
    );
    place.write("workspace/flake.nix", &flake)?;
    git(&root, &["init", "--quiet"])?;
    git(&root, &["add", "--all"])?;
    nix::nix(&["flake", "lock", &format!("git+file://{}", root.display())])?;
    git(&root, &["add", "--all"])?;
    Ok(())
}
