//! Everything that Cargo reads in a workspace takes effect: members, links, overrides, the
//! configuration, and git repositories. Most cases are in `tests/workspaces/harbour`.

use crate::checkout::{self, assemble, repository};
use crate::nix;
use crate::trial::trial;
use crate::workspaces::{attribute, binary, build_fails, commit_all, copy_of, fetch, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("reading::{name}"), run);
    vec![
        test("every_member_is_found_and_runs", harbour_runs),
        test("checks_need_no_runner", checks_run),
        test("names_of_checks_need_no_build", names_are_cheap),
        test("a_file_rebuilds_only_what_leads_to_it", precise),
        test("overrides_stand_in_several_places", overrides),
        test("what_depends_on_the_machine_is_refused", refused),
        test("git_references_are_decoded", git_references),
        test("a_lock_of_version_1_is_read", old_lock),
    ]
}

/// The output of the programs in `harbour`, the same as with plain Cargo.
const HARBOUR: [(&str, &str); 6] = [
    ("alpha", "alpha in docks/alpha/src/main.rs"),
    (
        "beta",
        "a knot 8.0.0 of another workspace, a rope by an inherited path",
    ),
    ("moored", "moored in moored/one/src/main.rs"),
    ("buoy", "buoy in buoy/src/main.rs"),
    ("cfg-if", "cfg-if 9.0.0 on unix"),
    (
        "pilot",
        "a chart beside it, high tide, sandbank, built by a shared script, patched by the \
         configuration",
    ),
];

/// Makes a copy of `harbour`, with a directory beside its members whose manifest is malformed. The
/// test writes that manifest, because `cargo install --git` reads every manifest of a repository
/// and complains about it.
fn harbour() -> Result<TempDir> {
    let copy = copy_of("harbour")?;
    fs::write(
        copy.path().join("docks/wreck/Cargo.toml"),
        "[package\nname = \"no member, and no manifest either\"\n",
    )?;
    Ok(copy)
}

fn harbour_runs() -> Result<()> {
    let workspace = harbour()?;
    for (package, expected) in HARBOUR {
        says(workspace.path(), package, expected)?;
    }
    Ok(())
}

/// Runs the program of a package.
fn says(workspace: &Path, package: &str, expected: &str) -> Result<()> {
    let said = duct::cmd!(binary(workspace, package)?).read()?;
    ensure!(said == expected, "{package} says {said:?}");
    Ok(())
}

fn checks_run() -> Result<()> {
    let workspace = harbour()?;
    for check in ["checks.alpha.test", "checks.pilot.fmt", "checks.knot.test"] {
        nix::build(&attribute(workspace.path(), check)).context(check)?;
    }
    Ok(())
}

/// `nix flake show` must not build anything, and old Nix can't read every manifest.
fn names_are_cheap() -> Result<()> {
    let workspace = harbour()?;
    let checks = attribute(workspace.path(), "checks");
    let names = format!("builtins.attrNames {checks}");
    let arguments = ["eval", "--impure", "--json", "--expr", &names];
    let refusing = ["--option", "allow-import-from-derivation", "false"];
    let found: BTreeSet<String> =
        serde_json::from_str(&nix::nix(&[&arguments[..], &refusing].concat())?)?;
    for (package, _) in HARBOUR {
        ensure!(
            found.contains(package),
            "{package} is not among the checks {found:?}"
        );
    }
    Ok(())
}

/// Maps the key of each unit to its derivation.
fn derivations(workspace: &Path) -> Result<BTreeMap<String, String>> {
    let units = attribute(workspace, "units");
    let expression = format!("builtins.mapAttrs (_: unit: unit.drvPath) {units}");
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    Ok(serde_json::from_str(&text)?)
}

fn precise() -> Result<()> {
    let copy = harbour()?;
    let write = |name: &str, text: &str| fs::write(copy.path().join(name), text);
    let before = derivations(copy.path())?;
    let rebuilt = || -> Result<BTreeSet<String>> {
        let after = derivations(copy.path())?;
        let changed = after
            .iter()
            .filter(|(key, path)| before.get(*key) != Some(path));
        Ok(changed
            .map(|(_, path)| nix::name_of(path).to_owned())
            .collect())
    };
    // After new files and a new manifest, Cargo is asked again, but nothing is built.
    write("notes.txt", "new")?;
    fs::create_dir_all(copy.path().join("apart/src"))?;
    write(
        "apart/Cargo.toml",
        "[package]\nname = \"apart\"\nversion = \"1.0.0\"\n",
    )?;
    write("apart/src/main.rs", "fn main() {}")?;
    write("docks/alpha/README.md", "new")?;
    let found = rebuilt()?;
    // Cargo passes the name of the README to the package.
    let alpha = BTreeSet::from(["alpha-3.1.0-bin-alpha".to_owned()]);
    ensure!(found.is_subset(&alpha), "rebuilt: {found:?}");
    fs::remove_file(copy.path().join("docks/alpha/README.md"))?;
    ensure!(rebuilt()?.is_empty(), "rebuilt: {:?}", rebuilt()?);
    // A file behind a link or a target belongs only to the packages with that link or target.
    write("shared/data/tide.txt", "low")?;
    let found = rebuilt()?;
    let pilots = found.iter().all(|name| name.starts_with("pilot-3.1.0-"));
    ensure!(pilots && found.len() > 1, "rebuilt: {found:?}");
    Ok(())
}

/// `[patch]` of the configuration is in `harbour`.
fn overrides() -> Result<()> {
    let main = "fn main() { print!(\"{}\", itoa::described()); }";
    for (name, file, text) in [
        (
            "by-paths",
            ".cargo/config.toml",
            "paths = [\"vendored/itoa\"]\n",
        ),
        (
            "by-replace",
            "Cargo.toml",
            "\n[replace]\n\"itoa:1.0.15\" = { path = \"vendored/itoa\" }\n",
        ),
        (
            "by-patch",
            "Cargo.toml",
            "\n[patch.crates-io]\nitoa = { path = \"vendored/itoa\" }\n",
        ),
    ] {
        let workspace = small(name, main, "")?;
        let vendored = workspace.path().join("vendored/itoa");
        fs::create_dir_all(vendored.join("src"))?;
        let manifest = "[package]\nname = \"itoa\"\nversion = \"1.0.15\"\nedition = \"2018\"\n";
        fs::write(vendored.join("Cargo.toml"), manifest)?;
        let library = "pub fn described() -> &'static str { \"overridden\" }\n";
        fs::write(vendored.join("src/lib.rs"), library)?;
        let path = workspace.path().join(file);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, before + text)?;
        lock(workspace.path())?;
        says(workspace.path(), name, "overridden").context(name)?;
    }
    Ok(())
}

/// Updates the lock, and fetches the files that it pins into the store.
fn lock(workspace: &Path) -> Result<()> {
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(workspace)
        .run()?;
    fetch(workspace, &repository().join("debian.lock"))
}

fn refused() -> Result<()> {
    let workspace = small("pinned", "fn main() {}", "")?;
    let configuration = workspace.path().join(".cargo/config.toml");
    fs::create_dir(workspace.path().join(".cargo"))?;
    for (text, expected) in [
        (
            "# Fast here.\n[build]\nrustflags = [\"-C\", \"target-cpu=native\"]\n",
            &[".cargo/config.toml:3: `target-cpu=native`", "x86-64-v3"][..],
        ),
        (
            "[env]\nCFLAGS = \"-O2 -march=native\"\n",
            &[".cargo/config.toml:2: `-march=native`"],
        ),
        (
            "[target.x86_64-unknown-linux-gnu]\nlinker = \"clang\"\n\
             rustflags = [\"-Clink-arg=-fuse-ld=mold\"]\n",
            &[
                ".cargo/config.toml:2: the toolchain does not have `clang` and `mold`",
                "[toolchain]",
                "packages = [\"clang\", \"mold\"]",
            ],
        ),
        (
            "[build]\ntarget = \"x86_64-unknown-linux-musl\"\n",
            &[".cargo/config.toml:2 builds for `x86_64-unknown-linux-musl`"],
        ),
    ] {
        fs::write(&configuration, text)?;
        let said = build_fails(workspace.path())?;
        for expected in expected {
            ensure!(
                said.contains(expected),
                "with {text:?} no {expected:?} in\n{said}"
            );
        }
    }
    Ok(())
}

/// Cargo gets one commit by a branch, by a tag (the lock encodes both names) and without either.
/// The commit holds two versions of a package, and broken manifests.
fn git_references() -> Result<()> {
    let repository = tempfile::tempdir()?;
    let write = |name: &str, text: &str| checkout::write(repository.path(), name, text);
    let wire = |version: &str| {
        format!("[package]\nname = \"wire\"\nversion = \"{version}\"\nedition = \"2021\"\n")
    };
    let library = "pub fn version() -> &'static str { env!(\"CARGO_PKG_VERSION\") }\n";
    write("fixtures/broken/Cargo.toml", "[package\nname = {{ name }}")?;
    write("a-wire/Cargo.toml", &wire("1.4.0"))?;
    write("a-wire/src/lib.rs", library)?;
    write("wire/Cargo.toml", &wire("2.0.0"))?;
    write("wire/src/lib.rs", library)?;
    commit_all(repository.path())?;
    for arguments in [["branch", "feature/slash"], ["tag", "v1+x"]] {
        duct::cmd("git", arguments).dir(repository.path()).run()?;
    }
    let calls = ["one", "two", "three", "old"].map(|name| format!("{name}::version()"));
    let main = format!(
        "fn main() {{ println!(\"{{:?}}\", [{}]); }}",
        calls.join(", ")
    );
    let workspace = small("referring", &main, "")?;
    let url = format!("file://{}", repository.path().display());
    let dependency = |name: &str, more: &str| {
        format!("{name} = {{ git = \"{url}\", package = \"wire\", {more} }}\n")
    };
    let manifest = workspace.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?
        + &dependency("one", "branch = \"feature/slash\", version = \"2\"")
        + &dependency("two", "tag = \"v1+x\", version = \"2\"")
        + &dependency("three", "version = \"2\"")
        + &dependency("old", "version = \"1\"");
    fs::write(&manifest, text)?;
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(workspace.path())
        .run()?;
    fetched_by_name(workspace.path())?;
    says(
        workspace.path(),
        "referring",
        "[\"2.0.0\", \"2.0.0\", \"2.0.0\", \"1.4.0\"]",
    )
}

/// Nix reads a repository on this machine directly, but asks a remote one for the branch or tag.
/// This makes the repository look remote.
fn fetched_by_name(workspace: &Path) -> Result<()> {
    let debian_lock = repository().join("debian.lock");
    let cache = tempfile::tempdir()?;
    duct::cmd!(assemble(), "fetch", "--lock", debian_lock)
        .dir(workspace)
        .env("_NIX_FORCE_HTTP", "1")
        .env("XDG_CACHE_HOME", cache.path())
        .stdout_null()
        .run()?;
    let locked = fs::read_to_string(workspace.join("Cargo.lock"))?;
    let sources = locked
        .lines()
        .filter_map(|line| line.strip_prefix("source = \"git+")?.strip_suffix('"'));
    for source in sources {
        let cache = tempfile::tempdir()?;
        let expression = format!(
            "(import {}/nix/cargo/git.nix {{ source = \"git+{source}\"; }}).rev",
            repository().display()
        );
        duct::cmd!("nix", "eval", "--impure", "--raw", "--expr", expression)
            .env("NIX_CONFIG", nix::configuration())
            .env("_NIX_FORCE_HTTP", "1")
            .env("XDG_CACHE_HOME", cache.path())
            .stdout_null()
            .run()
            .with_context(|| format!("git.nix does not fetch {source}"))?;
    }
    Ok(())
}

/// Cargo before 1.41 wrote checksums into a table of their own, and "<none>" for git.
fn old_lock() -> Result<()> {
    let repository = tempfile::tempdir()?;
    let write = |name: &str, text: &str| fs::write(repository.path().join(name), text);
    fs::create_dir(repository.path().join("src"))?;
    write(
        "Cargo.toml",
        "[package]\nname = \"wire\"\nversion = \"1.4.0\"\n",
    )?;
    write("src/lib.rs", "pub fn length() -> u8 { 7 }\n")?;
    commit_all(repository.path())?;
    let main = "fn main() { print!(\"{}\", itoa::Buffer::new().format(wire::length())); }";
    let workspace = small("aged", main, "")?;
    let manifest = workspace.path().join("Cargo.toml");
    let url = format!("file://{}", repository.path().display());
    let text = fs::read_to_string(&manifest)? + &format!("wire = {{ git = \"{url}\" }}\n");
    fs::write(&manifest, text)?;
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(workspace.path())
        .run()?;
    let lock = workspace.path().join("Cargo.lock");
    fs::write(&lock, in_version_1(&fs::read_to_string(&lock)?)?)?;
    fetch(
        workspace.path(),
        &crate::checkout::repository().join("debian.lock"),
    )?;
    says(workspace.path(), "aged", "7")
}

/// Writes a lock as Cargo did at first.
fn in_version_1(lock: &str) -> Result<String> {
    let lock: toml::Table = lock.parse()?;
    let packages = lock["package"].as_array().context("packages")?;
    let full = |package: &toml::Value| {
        let get = |key: &str| package.get(key).and_then(toml::Value::as_str);
        let source = get("source").map(|it| format!(" ({it})"));
        let [name, version] = ["name", "version"].map(|key| get(key).unwrap_or_default());
        format!("{name} {version}{}", source.unwrap_or_default())
    };
    let mut metadata = toml::Table::new();
    let mut old = Vec::new();
    for package in packages {
        let mut table = package.as_table().context("a package")?.clone();
        let checksum = table.remove("checksum");
        if package.get("source").is_some() {
            let value = checksum.unwrap_or_else(|| "<none>".into());
            metadata.insert(format!("checksum {}", full(package)), value);
        }
        for dependency in table
            .get_mut("dependencies")
            .and_then(toml::Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let mut named = packages
                .iter()
                .filter(|it| it.get("name") == Some(&*dependency));
            let found = full(named.next().context("a dependency is a package")?);
            *dependency = found.into();
        }
        old.push(toml::Value::Table(table));
    }
    let mut whole = toml::Table::new();
    whole.insert("package".to_owned(), old.into());
    whole.insert("metadata".to_owned(), metadata.into());
    Ok(whole.to_string())
}
