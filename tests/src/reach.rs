//! A unit sees some files beyond its own source, and its key covers exactly those.

use crate::checkout::{self, repository};
use crate::nix;
use crate::trial::trial;
use crate::workspaces::{
    attribute, binary, binary_fails, build, copy_of, derivations, fetch, locked, small,
    without_hash,
};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("reach::{name}"), run);
    vec![
        test(
            "code_finds_what_it_points_to_and_writes_as_with_cargo",
            scriptorium,
        ),
        test("who_runs_a_tool_is_built_again_with_it", tool_is_edited),
        test("known_crates_find_what_they_ask_for", almanac),
        test(
            "what_a_known_crate_asks_for_is_in_no_other_key",
            asked_file_is_edited,
        ),
        test(
            "a_file_that_a_macro_names_is_named_with_its_cure",
            macro_names_a_file,
        ),
        test(
            "a_script_that_reads_examples_is_told_the_line_to_add",
            script_reads_examples,
        ),
        test(
            "an_edit_of_a_program_is_in_no_other_key_of_its_package",
            program_is_edited,
        ),
        test("a_new_file_that_is_no_target_is_not_planned", new_file),
        test(
            "a_library_that_reads_a_program_is_told_the_line_to_add",
            library_reads_a_program,
        ),
        test("a_variable_is_set_for_its_crate_alone", variable),
        test("a_file_is_given_to_a_crate_of_a_registry", registry_file),
        test("who_asks_git_is_told_the_revision", revision),
        test("who_tries_the_network_is_told_what_to_add", network),
    ]
}

/// The output of the program `scriptorium`. It uses generated and rewritten sources, a header, a
/// library and tools of its dependencies, and a macro that writes.
const SCRIPTORIUM: &str = "\
generated into src
fresh
head 1 tail 2
shades 5 ink 7
scribe, by hand
scribe, stamped
a seal, by hand, stamped
chimes 12";

fn scriptorium() -> Result<()> {
    let workspace = locked("scriptorium")?;
    let program = binary(&workspace, "scribe")?;
    let said = duct::cmd!(&program).read()?;
    ensure!(said == SCRIPTORIUM, "the program says\n{said}");
    let references =
        duct::cmd!("nix-store", "--query", "--references", unit_of(&program)?).read()?;
    ensure!(references.is_empty(), "a binary refers to {references}");
    build(&workspace, "checks.scribe.test")?;
    Ok(())
}

fn unit_of(program: &Path) -> Result<&Path> {
    let unit = program.parent().and_then(Path::parent);
    unit.context("a program lies in OUTPUT/bin")
}

/// Returns the sorted names of the units that change with an edit.
fn changed(workspace: &Path, edit: impl FnOnce() -> Result<()>) -> Result<Vec<String>> {
    let before = derivations(workspace)?;
    edit()?;
    let after = derivations(workspace)?;
    let is_new = |(key, path): &(&String, &String)| before.get(*key) != Some(*path);
    let new = after.iter().filter(is_new);
    let mut names: Vec<String> = new.map(|(key, _)| without_hash(key).to_owned()).collect();
    names.sort();
    Ok(names)
}

fn append(file: &Path, text: &str) -> Result<()> {
    let old = fs::read_to_string(file).with_context(|| format!("no {}", file.display()))?;
    Ok(fs::write(file, old + text)?)
}

fn tool_is_edited() -> Result<()> {
    let copy = copy_of("scriptorium")?;
    let tool = copy.path().join("quill/tools/quill.sh");
    let found = changed(copy.path(), || append(&tool, "# edited\n"))?;
    let expected = [
        "quill-0.1.0",
        "scribe-0.1.0-bin-scribe",
        "scribe-0.1.0-build-script",
        "scribe-0.1.0-build-script-run",
        "seal-0.1.0",
    ];
    ensure!(found == expected, "these are built again: {found:?}");
    Ok(())
}

/// `num_enum` looks up its own name with `proc-macro-crate`, `dotenvy_macro` reads a file in the
/// workspace's root, and `insta` searches for snapshots from there.
fn almanac() -> Result<()> {
    let workspace = locked("almanac")?;
    let said = duct::cmd!(binary(&workspace, "app")?).read()?;
    ensure!(said == "Ok(May) 1912", "the program says {said:?}");
    build(&workspace, "checks.app.test")?;
    Ok(())
}

fn asked_file_is_edited() -> Result<()> {
    let copy = copy_of("almanac")?;
    let at = |name: &str| copy.path().join(name);
    let app = ["app-0.3.0-bin-app"];
    let found = changed(copy.path(), || append(&at(".env"), "MORE=1\n"))?;
    ensure!(found == app, "after an edit of .env: {found:?}");
    let found = changed(copy.path(), || append(&at("Cargo.toml"), "# edited\n"))?;
    ensure!(
        found == app,
        "after an edit of the root's manifest: {found:?}"
    );
    let metadata = "\n[package.metadata.edited]\nyes = true\n";
    let found = changed(copy.path(), || {
        append(&at("crates/other/Cargo.toml"), metadata)
    })?;
    let other = ["other-0.3.0-bin-other"];
    ensure!(
        found == other,
        "after an edit of another's manifest: {found:?}"
    );
    Ok(())
}

/// Makes a workspace with a macro that reads a file above its caller's directory, and a caller.
fn noted() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let write = |file: &str, text: &str| checkout::write(directory.path(), file, text);
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"2\"\nmembers = [\"notes\", \"reader\"]\n",
    )?;
    let package = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n")
    };
    write(
        "notes/Cargo.toml",
        &(package("notes") + "[lib]\nproc-macro = true\n"),
    )?;
    write(
        "notes/src/lib.rs",
        "#[proc_macro]\npub fn notes(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
         let file = format!(\"{}/../texts/one.txt\", \
         std::env::var(\"CARGO_MANIFEST_DIR\").unwrap());\n    let text = \
         std::fs::read_to_string(&file).unwrap_or_else(|error| panic!(\"{file}: {error}\"));\n    \
         format!(\"{text:?}\").parse().unwrap()\n}\n",
    )?;
    let dependency = "[dependencies]\nnotes = { path = \"../notes\" }\n";
    write("reader/Cargo.toml", &(package("reader") + dependency))?;
    write(
        "reader/src/main.rs",
        "fn main() { print!(\"{}\", notes::notes!()); }\n",
    )?;
    write("texts/one.txt", "a note")?;
    write(
        "images.toml",
        "version = 1\n\n[images.reader]\nbinaries = [\"reader\"]\n",
    )?;
    duct::cmd!("cargo", "generate-lockfile", "--quiet", "--offline")
        .dir(directory.path())
        .run()?;
    Ok(directory)
}

/// Checks that a package's program can't be built, that the error names `cure`, and that the build
/// succeeds with `cure` in the description. Returns the program's output.
fn cured_by(workspace: &Path, package: &str, cure: &str) -> Result<String> {
    let said = binary_fails(workspace, package)?;
    for line in cure.lines() {
        ensure!(said.contains(line), "no {line:?} in\n{said}");
    }
    append(&workspace.join("images.toml"), &format!("\n{cure}\n"))?;
    let program = binary(workspace, package);
    let program = program.context("the cure that the error names does not help")?;
    Ok(duct::cmd!(program).read()?)
}

fn macro_names_a_file() -> Result<()> {
    let workspace = noted()?;
    let said = cured_by(
        workspace.path(),
        "reader",
        "[crates.reader]\nfiles = [\"../texts/one.txt\"]",
    )?;
    ensure!(said == "a note", "the program says {said:?}");
    Ok(())
}

fn script_reads_examples() -> Result<()> {
    let script = "fn main() { let found = std::fs::read_dir(\"examples\").unwrap().count(); \
                  println!(\"cargo::rustc-env=FOUND={found}\"); }";
    let main = "fn main() { print!(\"{}\", env!(\"FOUND\")); }";
    let workspace = small("exemplary", main, script)?;
    let examples = workspace.path().join("examples");
    fs::create_dir(&examples)?;
    fs::write(examples.join("one.rs"), "fn main() {}")?;
    fs::write(examples.join("two.rs"), "fn main() {}")?;
    let cure = "[crates.exemplary]\nfiles = [\"examples\"]";
    let said = cured_by(workspace.path(), "exemplary", cure)?;
    ensure!(said == "2", "the program says {said:?}");
    Ok(())
}

/// Makes a package with a library and four programs. The library has the main file of one of them
/// as a module.
fn desk() -> Result<TempDir> {
    let workspace = small("desk", "fn main() { print!(\"{}\", desk::name()); }\n", "")?;
    let write = |file: &str, text: &str| checkout::write(workspace.path(), file, text);
    write(
        "src/lib.rs",
        "pub mod common;\npub fn name() -> &'static str { common::NAME }\n",
    )?;
    write(
        "src/common.rs",
        "pub const NAME: &str = \"desk\";\n#[allow(dead_code)]\nfn main() {}\n",
    )?;
    write("src/bin/one.rs", "fn main() { print!(\"1\"); }\n")?;
    write(
        "src/bin/two/main.rs",
        "mod part;\nfn main() { print!(\"{}\", part::TWO); }\n",
    )?;
    write("src/bin/two/part.rs", "pub const TWO: u8 = 2;\n")?;
    append(
        &workspace.path().join("Cargo.toml"),
        "\n[[bin]]\nname = \"common\"\npath = \"src/common.rs\"\n",
    )?;
    write(
        "images.toml",
        "version = 1\n\n[images.desk]\nbinaries = [\"desk/common\", \"desk\", \"desk/one\", \
         \"desk/two\"]\n",
    )?;
    Ok(workspace)
}

fn program_is_edited() -> Result<()> {
    let workspace = desk()?;
    let (desk, one) = ("desk-0.1.0-bin-desk", "desk-0.1.0-bin-one");
    let (two, common) = ("desk-0.1.0-bin-two", "desk-0.1.0-bin-common");
    for (file, expected) in [
        ("src/main.rs", &[desk][..]),
        ("src/bin/one.rs", &[one]),
        ("src/bin/two/part.rs", &[two]),
        ("src/common.rs", &["desk-0.1.0", common, desk, one, two]),
    ] {
        let found = changed(workspace.path(), || {
            append(&workspace.path().join(file), "// edited\n")
        })?;
        ensure!(found == expected, "after an edit of {file}: {found:?}");
    }
    let all = build(workspace.path(), "all")?;
    ensure!(all.exists(), "no image");
    let said = duct::cmd!(binary(workspace.path(), "desk")?).read()?;
    ensure!(said == "desk", "the program says {said:?}");
    Ok(())
}

/// The plan does not depend on files that are the main file of no target.
fn new_file() -> Result<()> {
    let workspace = desk()?;
    let plan = attribute(workspace.path(), "evaluation.plan.drvPath");
    let plan = || nix::nix(&["eval", "--impure", "--raw", "--expr", &plan]);
    let others = ["src/bin/two/more.rs", "src/deep/new.rs", "notes.md"];
    // A new directory may be a member, so it is part of the plan.
    fs::create_dir(workspace.path().join("src/deep"))?;
    let before = plan()?;
    for file in others {
        checkout::write(workspace.path(), file, "")?;
        ensure!(before == plan()?, "{file} makes Nix plan again");
    }
    for file in ["src/bin/three.rs", "build.rs", "README.md"] {
        let before = plan()?;
        checkout::write(workspace.path(), file, "")?;
        ensure!(before != plan()?, "{file} is not part of the plan");
    }
    Ok(())
}

fn library_reads_a_program() -> Result<()> {
    let workspace = small("shown", "fn main() { print!(\"{}\", shown::MAIN); }", "")?;
    checkout::write(
        workspace.path(),
        "src/lib.rs",
        "pub const MAIN: &str = include_str!(\"main.rs\");",
    )?;
    let cure = "[crates.shown]\nfiles = [\"src/main.rs\"]";
    let said = cured_by(workspace.path(), "shown", cure)?;
    ensure!(said.contains("shown::MAIN"), "the program says {said:?}");
    Ok(())
}

fn variable() -> Result<()> {
    let script = "fn main() { println!(\"cargo::rustc-env=SITE={}\", \
                  std::env::var(\"APP_SITE\").unwrap()); }";
    let workspace = small(
        "sited",
        "fn main() { print!(\"{}\", env!(\"SITE\")); }",
        script,
    )?;
    let said = binary_fails(workspace.path(), "sited")?;
    ensure!(
        said.contains("environment = { APP_SITE = "),
        "Nix says\n{said}"
    );
    let description = workspace.path().join("images.toml");
    append(
        &description,
        "\n[crates.sited]\nenvironment = { APP_SITE = \"here\" }\n",
    )?;
    let said = duct::cmd!(binary(workspace.path(), "sited")?).read()?;
    ensure!(said == "here", "the program says {said:?}");
    let found = changed(workspace.path(), || {
        append(
            &description,
            "\n[crates.itoa]\nenvironment = { ITS = \"own\" }\n",
        )
    })?;
    ensure!(
        found == ["itoa-1.0.15", "sited-0.1.0-bin-sited"],
        "built again: {found:?}"
    );
    Ok(())
}

fn registry_file() -> Result<()> {
    let workspace = small(
        "given",
        "fn main() { println!(\"{}\", itoa::Buffer::new().format(1)); }",
        "",
    )?;
    let at = |name: &str| workspace.path().join(name);
    fs::create_dir(at("vendor"))?;
    for name in ["vendor/given.bin", "vendor/other.bin"] {
        fs::write(at(name), "one")?;
    }
    append(
        &at("images.toml"),
        "\n[crates.itoa]\nfiles = [\"vendor/given.bin\"]\n",
    )?;
    binary(workspace.path(), "given")?;
    let found = changed(workspace.path(), || append(&at("vendor/given.bin"), "two"))?;
    ensure!(
        found.iter().any(|name| name == "itoa-1.0.15"),
        "the crate is not built again: {found:?}"
    );
    let unshared = derivations(small("plain", "fn main() {}", "")?.path())?;
    let given = derivations(workspace.path())?;
    let itoa = |all: &std::collections::BTreeMap<String, String>| {
        let mut units = all.iter().filter(|(key, _)| key.starts_with("itoa-"));
        units.next().map(|(_, path)| path.clone())
    };
    ensure!(
        itoa(&unshared) != itoa(&given),
        "the file is not in the crate's key"
    );
    Ok(())
}

fn revision() -> Result<()> {
    let script = "fn main() {\n    let git = \
                  std::process::Command::new(\"git\").args([\"rev-parse\", \
                  \"HEAD\"]).output().unwrap();\n    assert!(git.status.success(), \
                  \"{git:?}\");\n    println!(\"cargo::rustc-env=COMMIT={}\", \
                  String::from_utf8(git.stdout).unwrap());\n}\n";
    let workspace = small(
        "dated",
        "fn main() { print!(\"{}\", env!(\"COMMIT\")); }",
        script,
    )?;
    let said = cured_by(workspace.path(), "dated", "[crates.dated]\nrevision = true")?;
    // A directory has no revision.
    ensure!(said == "0".repeat(40), "the program says {said:?}");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let units_with = |argument: String| {
        format!(
            "((builtins.getFlake \"git+file://{}\").lib.mkImages {{ src = {}; {argument}; \
             }}).units",
            repository().display(),
            workspace.path().display()
        )
    };
    let units = units_with(format!(
        "revision = {{ commit = \"{commit}\"; time = 0; dirty = false; }}"
    ));
    let said = duct::cmd!(crate::workspaces::binary_of(&units, "dated")?).read()?;
    ensure!(said == commit, "the program says {said:?}");
    // A flake hands over its own.
    let of_flake = units_with(format!("self = {{ rev = \"{commit}\"; }}"));
    let said = duct::cmd!(crate::workspaces::binary_of(&of_flake, "dated")?).read()?;
    ensure!(said == commit, "with a flake, the program says {said:?}");
    // Units that do not get the revision are not built again.
    let derivation = |units: &str| -> Result<String> {
        let expression = format!(
            "let units = {units}; in map (key: units.${{key}}.drvPath) (builtins.filter (key: \
             builtins.match \"itoa-.*\" key != null) (builtins.attrNames units))"
        );
        nix::nix(&["eval", "--impure", "--json", "--expr", &expression])
    };
    ensure!(
        derivation(&units)? == derivation(&attribute(workspace.path(), "units"))?,
        "a commit builds other crates again"
    );
    Ok(())
}

fn network() -> Result<()> {
    let script = r#"fn main() {
    let mirror = std::env::var("APP_ARCHIVE").unwrap_or("https://localhost/app.bin".into());
    if mirror.starts_with("https:") {
        std::net::TcpStream::connect("1.1.1.1:443")
            .unwrap_or_else(|error| panic!("{mirror}: {error}"));
    }
    std::fs::copy(mirror, std::env::var("OUT_DIR").unwrap() + "/app.bin").unwrap();
}
"#;
    let main =
        "fn main() { print!(\"{}\", include_str!(concat!(env!(\"OUT_DIR\"), \"/app.bin\"))); }";
    let workspace = small("fetching", main, script)?;
    let said = binary_fails(workspace.path(), "fetching")?;
    for text in [
        "https://localhost/app.bin",
        "[crates.fetching]",
        "APP_ARCHIVE =",
    ] {
        ensure!(said.contains(text), "no {text:?} in\n{said}");
    }
    fs::create_dir(workspace.path().join("vendor"))?;
    fs::write(workspace.path().join("vendor/FILE"), "kept")?;
    append(
        &workspace.path().join("images.toml"),
        "\n[crates.fetching]\nfiles = [\"vendor/FILE\"]\n\
         environment = { APP_ARCHIVE = \"/workspace/vendor/FILE\" }\n",
    )?;
    fetch(workspace.path(), &repository().join("debian.lock"))?;
    let said = duct::cmd!(binary(workspace.path(), "fetching")?).read()?;
    ensure!(said == "kept", "the program says {said:?}");
    Ok(())
}
