//! Other workspaces, built through the flake's library.

use crate::checkout::{self, assemble, repository};
use crate::nix;
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("workspaces::{name}"), run);
    vec![
        test("an_unrelated_workspace_builds_and_runs", ledger_builds),
        test("all_that_manifests_know_comes_through", torture_builds),
        test(
            "every_unit_is_byte_for_byte_what_cargo_builds",
            units_are_cargos,
        ),
        test("third_party_units_are_shared", units_are_shared),
        test("a_build_script_has_no_network", no_network),
        test("a_build_script_has_no_home", no_home),
        test(
            "a_build_script_sees_nothing_outside_its_crate",
            nothing_outside,
        ),
        test("an_undeclared_file_is_named_with_its_cure", undeclared_file),
        test("a_compiler_error_reaches_the_person", compiler_error),
        test("a_lock_that_does_not_match_is_refused", stale_lock),
        test("a_git_dependency_builds", git_dependency),
        test("what_probes_leave_behind_is_no_output", probing),
        test("cmake_gives_the_same_bytes_again", cmake),
        test(
            "a_script_lists_directories_in_the_same_order_everywhere",
            listed,
        ),
        test("a_declared_file_is_part_of_its_crate_alone", declared_file),
    ]
}

/// Returns an expression for an attribute of a workspace's images.
pub fn attribute(workspace: &Path, path: &str) -> String {
    format!(
        "((builtins.getFlake \"git+file://{}\").lib.mkImages {{ src = {}; }}).{path}",
        repository().display(),
        workspace.display()
    )
}

/// Builds an attribute of a workspace's images.
pub fn build(workspace: &Path, path: &str) -> Result<PathBuf> {
    nix::build(&attribute(workspace, path))
}

pub fn build_fails(workspace: &Path) -> Result<String> {
    nix::build_fails(&attribute(workspace, "all"))
}

/// Builds a workspace's program of the same name with plain Cargo in a cell. The result holds the
/// target directory and a log of the calls.
pub fn by_cargo(workspace: &Path, name: &str) -> Result<PathBuf> {
    nix::build(&format!(
        "import {0}/tests/cargo-in-a-cell.nix {{ crateyard = builtins.getFlake \"git+file://{0}\"; \
         src = {1}; binaries = [ {{ package = \"{name}\"; bin = \"{name}\"; }} ]; keepTarget = \
         true; }}",
        repository().display(),
        workspace.display()
    ))
}

/// Builds the binary with the package's name.
pub fn binary(workspace: &Path, package: &str) -> Result<PathBuf> {
    binary_of(&attribute(workspace, "units"), package)
}

/// Returns Nix's messages when it fails to build a package's binary.
pub fn binary_fails(workspace: &Path, package: &str) -> Result<String> {
    let units = attribute(workspace, "units");
    nix::build_fails(&one_unit(&units, &format!("{package}-.*-bin-{package}-.*")))
}

/// Builds the same from the units of an expression.
pub fn binary_of(units: &str, package: &str) -> Result<PathBuf> {
    let expression = one_unit(units, &format!("{package}-.*-bin-{package}-.*"));
    let out = nix::build(&expression)?;
    Ok(out.join("bin").join(package))
}

/// Returns an expression for the first unit whose key matches.
fn one_unit(units: &str, pattern: &str) -> String {
    format!(
        "let units = {units}; in units.${{builtins.head (builtins.filter \
         (key: builtins.match \"{pattern}\" key != null) (builtins.attrNames units))}}"
    )
}

/// Returns the workspace `ledger`, after fetching the files that its locks pin.
pub fn ledger() -> Result<PathBuf> {
    locked("ledger")
}

/// Returns a workspace of `tests/workspaces`, after fetching the files that its locks pin.
pub fn locked(name: &str) -> Result<PathBuf> {
    let workspace = repository().join("tests/workspaces").join(name);
    fetch(&workspace, &repository().join("debian.lock"))?;
    Ok(workspace)
}

/// Makes a copy of a workspace of `tests/workspaces`, to edit.
pub fn copy_of(name: &str) -> Result<TempDir> {
    checkout::copy_of(&locked(name)?)
}

/// Fetches into the store the files that the workspace's lock and a lock of Debian packages pin.
pub fn fetch(workspace: &Path, lock: &Path) -> Result<()> {
    nix::with_submodules_of_files(duct::cmd!(assemble(), "fetch", "--lock", lock))
        .dir(workspace)
        .stdout_null()
        .run()?;
    Ok(())
}

/// The output of the program `ledger` if all features have their effect.
const LEDGER: &str = "\
table entry
amount 42 (patched)
checksum d1e1799f
header checksum.h
greeting from the configuration
cfg true true
version 1.4.2 at ledger/src/main.rs";

fn ledger_builds() -> Result<()> {
    let workspace = ledger()?;
    let program = binary(&workspace, "ledger")?;
    let said = duct::cmd!(&program).read()?;
    ensure!(said == LEDGER, "the program says\n{said}");
    let image = build(&workspace, "images.ledger")?;
    ensure!(
        image.join("index.json").is_file(),
        "{} is no layout",
        image.display()
    );
    Ok(())
}

/// The output of the program `torture` if all features have their effect.
const TORTURE: &str = "\
version 2.7.1-rc.1+build.5 rc.1
authors A <a@localhost>:B
lines 2
env plain forced
told host true target false made 9
cfg true true
split host false target true
lamp 60 60 W, warm white true
new LOUD
shared 3 archive 4
unix true old 251
macro 22
asserted true";

fn torture_builds() -> Result<()> {
    let program = binary(&locked("torture")?, "torture")?;
    let said = duct::cmd!(&program).read()?;
    ensure!(said == TORTURE, "the program says\n{said}");
    Ok(())
}

fn units_are_cargos() -> Result<()> {
    compare_with_cargo("ledger", "ledger")?;
    compare_with_cargo("torture", "torture")?;
    compare_with_cargo("scriptorium", "scribe")
}

/// Compares with plain Cargo in a cell, with the same toolchain and paths. Every file of a unit has
/// the same bytes as Cargo's file at the same place: libraries, metadata, macros, C objects and the
/// program.
fn compare_with_cargo(workspace: &str, name: &str) -> Result<()> {
    let workspace = locked(workspace)?;
    let cargos = by_cargo(&workspace, name)?;
    let program = binary(&workspace, name)?;
    ensure!(
        fs::read(&program)? == fs::read(cargos.join(name))?,
        "{} and {}/{name} differ",
        program.display(),
        cargos.display()
    );
    let units = outputs(&workspace, name)?;
    let mut compared = 0;
    let mut differing = Vec::new();
    for unit in units
        .values()
        .filter(|unit| unit.join("unit.json").exists())
    {
        for (ours, theirs) in files_of(unit, &cargos)? {
            compared += 1;
            if fs::read(&ours)? != fs::read(&theirs).unwrap_or_default() {
                differing.push(ours);
            }
        }
    }
    ensure!(compared > units.len(), "only {compared} files to compare");
    ensure!(
        differing.is_empty(),
        "{compared} compared, these differ: {differing:?}"
    );
    println!(
        "{name}: {compared} files of {} units are Cargo's",
        units.len()
    );
    Ok(())
}

/// Builds all units of a workspace's program of the same name, and returns their outputs by key.
pub fn outputs(workspace: &Path, name: &str) -> Result<BTreeMap<String, PathBuf>> {
    binary(workspace, name)?;
    let units = attribute(workspace, "units");
    let expression = format!("builtins.mapAttrs (_: unit: unit.outPath) {units}");
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    Ok(serde_json::from_str(&text)?)
}

/// Returns each file of a unit, with the path of Cargo's file.
fn files_of(unit: &Path, cargos: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let kept = unit.join("files");
    if !kept.exists() {
        return Ok(Vec::new());
    }
    let entry: Value = serde_json::from_str(&fs::read_to_string(unit.join("unit.json"))?)?;
    let directory = entry["outDir"].as_str().context("a unit has an outDir")?;
    let theirs = cargos.join(directory.trim_start_matches("/cargo/"));
    let names = fs::read_dir(&kept)?.map(|file| Ok(file?.file_name()));
    names
        .map(|name| name.map(|name| (kept.join(&name), theirs.join(&name))))
        .collect()
}

/// Two workspaces with the same profile share the derivations of a registry's crate.
fn units_are_shared() -> Result<()> {
    let one = small(
        "one",
        "fn main() { println!(\"{}\", itoa::Buffer::new().format(1)); }",
        "",
    )?;
    let two = small(
        "two",
        "fn main() { print!(\"{}\", itoa::Buffer::new().format(2)); }",
        "",
    )?;
    let unit = |workspace: &TempDir| -> Result<String> {
        let units = attribute(workspace.path(), "units");
        let expression = format!("({}).drvPath", one_unit(&units, "itoa-.*"));
        nix::nix(&["eval", "--impure", "--raw", "--expr", &expression])
    };
    let (first, second) = (unit(&one)?, unit(&two)?);
    ensure!(first == second, "{first} is not {second}");
    Ok(())
}

/// Makes a workspace of one package that depends on itoa, with a build script if one is given.
pub fn small(name: &str, main: &str, build: &str) -> Result<TempDir> {
    small_with(name, main, build, "itoa = \"=1.0.15\"\n")
}

/// Makes the same with other dependencies, as lines of TOML.
pub fn small_with(name: &str, main: &str, build: &str, dependencies: &str) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let write = |file: &str, text: &str| -> Result<()> {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        Ok(fs::write(path, text)?)
    };
    write(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n\
             [dependencies]\n{dependencies}"
        ),
    )?;
    write("src/main.rs", main)?;
    write(
        "images.toml",
        &format!("version = 1\n\n[images.{name}]\nbinaries = [\"{name}\"]\n"),
    )?;
    if !build.is_empty() {
        write("build.rs", build)?;
    }
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(directory.path())
        .run()?;
    fetch(directory.path(), &repository().join("debian.lock"))?;
    Ok(directory)
}

const MAIN: &str = "fn main() {}";

fn no_network() -> Result<()> {
    let script = "fn main() { std::net::TcpStream::connect(\"1.1.1.1:53\").unwrap(); }";
    let said = build_fails(small("networked", MAIN, script)?.path())?;
    ensure!(said.contains("Network is unreachable"), "Nix says\n{said}");
    Ok(())
}

fn no_home() -> Result<()> {
    let script = "fn main() { std::fs::read_dir(std::env::var(\"HOME\").unwrap()).unwrap(); }";
    let said = build_fails(small("homely", MAIN, script)?.path())?;
    ensure!(
        said.contains("No such file or directory"),
        "Nix says\n{said}"
    );
    Ok(())
}

fn nothing_outside() -> Result<()> {
    let script = "fn main() { std::fs::read(\"images.toml\").expect(\"images.toml\"); }";
    let said = build_fails(small("nosy", MAIN, script)?.path())?;
    ensure!(
        said.contains("images.toml: Os { code: 2"),
        "Nix says\n{said}"
    );
    Ok(())
}

fn undeclared_file() -> Result<()> {
    let main = "fn main() { print!(\"{}\", include_str!(\"../docs/a.txt\")); }";
    let workspace = small("careless", main, "")?;
    fs::create_dir(workspace.path().join("docs"))?;
    fs::write(workspace.path().join("docs/a.txt"), "a")?;
    let said = build_fails(workspace.path())?;
    ensure!(said.contains("[crates.careless]"), "Nix says\n{said}");
    ensure!(
        said.contains("files = [\"docs/a.txt\"]"),
        "Nix says\n{said}"
    );
    let description = workspace.path().join("images.toml");
    let old = fs::read_to_string(&description)?;
    fs::write(
        &description,
        old + "\n[crates.careless]\nfiles = [\"docs/a.txt\"]\n",
    )?;
    build(workspace.path(), "all").context("the cure that the error names does not help")?;
    Ok(())
}

fn compiler_error() -> Result<()> {
    let said = build_fails(small("wrong", "fn main() { let x: u8 = \"\"; }", "")?.path())?;
    ensure!(said.contains("src/main.rs:1:25"), "Nix says\n{said}");
    ensure!(said.contains("mismatched types"), "Nix says\n{said}");
    Ok(())
}

fn stale_lock() -> Result<()> {
    let workspace = small("stale", MAIN, "")?;
    let manifest = workspace.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?.replace("=1.0.15", "=1.0.14");
    fs::write(&manifest, text)?;
    let said = build_fails(workspace.path())?;
    for wanted in [
        "itoa",
        "Cargo.lock does not match",
        "cargo update --workspace",
    ] {
        ensure!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
    Ok(())
}

/// A package in a subdirectory of a git repository. It inherits from its workspace, and reads two
/// files outside its directory, one through a link.
fn git_dependency() -> Result<()> {
    let repository = tempfile::tempdir()?;
    let inside = repository.path().join("crates/greeting");
    fs::create_dir_all(inside.join("src"))?;
    let manifest = "[workspace]\nmembers = [\"crates/*\"]\n\n[workspace.package]\nversion = \
                    \"0.3.0\"\nedition = \"2021\"\n\n[workspace.dependencies]\nitoa = { version = \
                    \"1\", default-features = false }\n";
    fs::write(repository.path().join("Cargo.toml"), manifest)?;
    let manifest = "[package]\nname = \"greeting\"\nversion.workspace = true\nedition.workspace = \
                    true\n\n[dependencies]\nitoa.workspace = true\n";
    fs::write(inside.join("Cargo.toml"), manifest)?;
    fs::write(
        inside.join("src/lib.rs"),
        "pub fn greet() -> String {\n    let below = include_str!(\"../below/below.txt\");\n    \
         let beside = concat!(include_str!(\"../../../README\"), \
         include_str!(\"../LICENSE\"));\n    format!(\"from git {}, {below}, {beside}\", \
         itoa::Buffer::new().format(3))\n}\n",
    )?;
    fs::write(repository.path().join("README"), "a readme")?;
    fs::write(repository.path().join("LICENSE"), " and a license")?;
    std::os::unix::fs::symlink("../../LICENSE", inside.join("LICENSE"))?;
    let below = tempfile::tempdir()?;
    fs::write(below.path().join("below.txt"), "a submodule below it")?;
    commit_all(below.path())?;
    duct::cmd!("git", "init", "--quiet", "--initial-branch=main")
        .dir(repository.path())
        .run()?;
    let url = format!("file://{}", below.path().display());
    let add = duct::cmd!(
        "git",
        "submodule",
        "--quiet",
        "add",
        url,
        "crates/greeting/below"
    );
    nix::with_submodules_of_files(add.dir(repository.path())).run()?;
    commit_all(repository.path())?;
    let workspace = small(
        "polite",
        "fn main() { print!(\"{}\", greeting::greet()); }",
        "",
    )?;
    let manifest = workspace.path().join("Cargo.toml");
    let dependency = format!(
        "greeting = {{ git = \"file://{}\" }}\n",
        repository.path().display()
    );
    fs::write(&manifest, fs::read_to_string(&manifest)? + &dependency)?;
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(workspace.path())
        .run()?;
    fetch(
        workspace.path(),
        &crate::checkout::repository().join("debian.lock"),
    )?;
    let said = duct::cmd!(binary(workspace.path(), "polite")?).read()?;
    ensure!(
        said == "from git 3, a submodule below it, a readme and a license",
        "the program says {said:?}"
    );
    Ok(())
}

/// autocfg gives the files of its probes random names.
fn probing() -> Result<()> {
    let workspace = small("probing", MAIN, "")?;
    let manifest = workspace.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, text + "num-traits = \"=0.2.19\"\n")?;
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(workspace.path())
        .run()?;
    fetch(workspace.path(), &repository().join("debian.lock"))?;
    let units = attribute(workspace.path(), "units");
    let run = one_unit(&units, "num-traits-.*-build-script-run-.*");
    let out = nix::build(&run)?;
    ensure!(
        fs::read_dir(out.join("files"))?.next().is_none(),
        "{} holds files",
        out.display()
    );
    build_again(&run)
}

/// Makes Nix build an output again and compare.
fn build_again(expression: &str) -> Result<()> {
    let again = ["build", "--impure", "--no-link", "--rebuild", "--expr"];
    nix::nix(&[&again[..], &[expression]].concat()).map(drop)
}

/// CMake's logs have random names.
fn cmake() -> Result<()> {
    let script = r#"fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    let here = std::env::current_dir().unwrap();
    let run = |arguments: &[&str]| {
        let done = std::process::Command::new("cmake").args(arguments).current_dir(&out).status();
        assert!(done.unwrap().success());
    };
    run(&[here.join("c").to_str().unwrap()]);
    run(&["--build", ".", "--parallel"]);
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=answer");
}
"#;
    let main = r#"unsafe extern "C" {
    fn answer() -> i32;
}

fn main() {
    print!("{}", unsafe { answer() });
}
"#;
    let workspace = small("made", main, script)?;
    let write = |name: &str, text: &str| fs::write(workspace.path().join("c").join(name), text);
    fs::create_dir(workspace.path().join("c"))?;
    write(
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.10)\nproject(answer C)\ninclude(CheckIncludeFile)\n\
         check_include_file(nothere.h HAVE_NOTHERE)\nadd_library(answer STATIC answer.c)\n",
    )?;
    write("answer.c", "int answer(void) { return 42; }\n")?;
    let said = duct::cmd!(binary(workspace.path(), "made")?).read()?;
    ensure!(said == "42", "the program says {said:?}");
    let units = attribute(workspace.path(), "units");
    build_again(&one_unit(&units, "made-.*-build-script-run-.*"))
}

/// A build script lists a directory. On a disk, the order would be that of hashes. The package is
/// in memory, where the order is that of names, or its reverse.
fn listed() -> Result<()> {
    let script = "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    let files = \
                  std::fs::read_dir(\"data\").unwrap().map(|file| \
                  file.unwrap().file_name().into_string().unwrap());\n    std::fs::write(out + \
                  \"/list\", files.collect::<Vec<_>>().join(\" \")).unwrap();\n}\n";
    let main = "fn main() {\n    print!(\"{}\", include_str!(concat!(env!(\"OUT_DIR\"), \
                \"/list\")));\n}\n";
    let workspace = small("lists", main, script)?;
    let data = workspace.path().join("data");
    fs::create_dir(&data)?;
    let sorted: Vec<String> = (100..160).map(|number| number.to_string()).collect();
    for name in &sorted {
        fs::write(data.join(name), "")?;
    }
    let reversed: Vec<String> = sorted.iter().rev().cloned().collect();
    let said = duct::cmd!(binary(workspace.path(), "lists")?).read()?;
    ensure!(
        said == sorted.join(" ") || said == reversed.join(" "),
        "the script found {said}"
    );
    Ok(())
}

fn declared_file() -> Result<()> {
    let copy = copy_of("torture")?;
    // A directory that the root's own package does not see.
    fs::create_dir(copy.path().join("docs"))?;
    let write = |name: &str, text: &str| fs::write(copy.path().join(name), text);
    let description = fs::read_to_string(copy.path().join("images.toml"))?;
    let declaration = "\n[crates.middle]\nfiles = [\"../../docs/terms.txt\"]\n";
    write("images.toml", &(description + declaration))?;
    write("docs/terms.txt", "one")?;
    write("docs/others.txt", "one")?;
    let before = derivations(copy.path())?;
    write("docs/others.txt", "two")?;
    ensure!(
        before == derivations(copy.path())?,
        "a file that nobody declares is read"
    );
    write("docs/terms.txt", "two")?;
    let after = derivations(copy.path())?;
    let changed = |key: &&String| after[*key] != before[*key];
    let mut changed: Vec<&str> = before
        .keys()
        .filter(changed)
        .map(|key| without_hash(key))
        .collect();
    changed.sort_unstable();
    ensure!(
        changed
            == [
                "middle-0.3.0",
                "old-0.1.0",
                "torture-2.7.1-rc.1+build.5-bin-torture"
            ],
        "these are built again: {changed:?}"
    );
    Ok(())
}

/// Maps the key of each unit to its derivation.
pub fn derivations(workspace: &Path) -> Result<BTreeMap<String, String>> {
    let units = attribute(workspace, "units");
    let expression = format!("builtins.mapAttrs (_: unit: unit.drvPath) {units}");
    let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
    Ok(serde_json::from_str(&text)?)
}

/// Returns the name of a unit by its key.
pub fn without_hash(key: &str) -> &str {
    key.rsplit_once('-').map_or(key, |(name, _)| name)
}

/// Makes a directory a repository, unless it is one, and commits its files.
pub fn commit_all(directory: &Path) -> Result<()> {
    let who = ["-c", "user.name=t", "-c", "user.email=t@example"];
    let commit = ["commit", "--quiet", "--allow-empty", "-m", "one"];
    let commit = [&who[..], &commit].concat();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &commit,
    ] {
        duct::cmd("git", arguments).dir(directory).run()?;
    }
    Ok(())
}
