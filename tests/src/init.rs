//! From a workspace to a running image without editing, and the templates.

use crate::checkout::{assemble, repository};
use crate::engine::{Container, run};
use crate::nix;
use crate::trial::trial;
use crate::workspaces::{attribute, binary as program, fetch};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run: fn() -> Result<()>| {
        let missing = tools.iter().find(|tool| which::which(tool).is_err());
        let title = format!("init::{name}");
        if let Some(tool) = missing {
            println!("SKIPPED: {title}: {tool} is not installed");
        }
        trial(title, run).with_ignored_flag(missing.is_some())
    };
    let runs = &["umoci", "runc"];
    vec![
        test("makes_a_service_that_runs", runs, service_runs),
        test("keeps_what_is_there", &[], keeps_files),
        test("says_what_sources_name", &[], says_what_it_guessed),
        test("refuses_a_workspace_without_binary", &[], no_binary),
        test("writes_the_templates", &[], templates),
        test("native_libraries_come_from_debian", runs, notes_run),
        test(
            "build_scripts_and_macros_load_native_libraries",
            &[],
            loaded_while_compiling,
        ),
        test(
            "libraries_that_two_crates_need_are_given_once",
            runs,
            shared_libraries,
        ),
        test("what_is_not_locked_is_named", &[], not_locked),
        test(
            "a_library_that_is_missing_is_refused",
            &[],
            library_is_missing,
        ),
    ]
}

const TEMPLATES: [&str; 4] = ["service", "services", "c-dependencies", "chart"];

/// A copy of a template without what `assemble init` writes.
fn bare(template: &str) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    let from = repository().join("nix/templates").join(template);
    duct::cmd!("cp", "-rT", from, copy.path()).run()?;
    for name in ["flake.nix", "images.toml"] {
        fs::remove_file(copy.path().join(name))?;
    }
    Ok(copy)
}

fn init(workspace: &Path, arguments: &[&str]) -> Result<String> {
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
        said.contains("nix build .#service-image"),
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

fn says_what_it_guessed() -> Result<()> {
    let workspace = bare("service")?;
    let write = |name: &str, text: &str| -> Result<()> {
        let path = workspace.path().join(name);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        Ok(fs::write(path, text)?)
    };
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
        "#![doc = include_str!(\"../README.md\")]\nfn main() { print!(\"{}\", include_str!(\"../../proto/api.proto\")); }\n",
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

/// The templates are what `assemble init` writes for their sources.
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

fn notes() -> Result<PathBuf> {
    let workspace = repository().join("nix/templates/c-dependencies");
    duct::cmd!(assemble(), "fetch")
        .dir(&workspace)
        .stdout_null()
        .run()?;
    Ok(workspace)
}

/// A crate is compiled against Debian's SQLite, and the image has its library.
fn notes_run() -> Result<()> {
    let image = nix::build(&attribute(&notes()?, "images.notes"))?;
    let said = run(&image, &["hello"], "")?;
    ensure!(said == "SQLite 3.40.1\n- hello\n", "it says\n{said}");
    Ok(())
}

/// A build script and a macro that call SQLite: both are linked to Debian's library, and load it when they run, the macro
/// into rustc while it compiles a library.
fn loaded_while_compiling() -> Result<()> {
    let copy = tempfile::tempdir()?;
    duct::cmd!("cp", "-rT", notes()?, copy.path()).run()?;
    let write = |name: &str, text: &str| -> Result<()> {
        let path = copy.path().join(name);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        Ok(fs::write(path, text)?)
    };
    let rusqlite = "rusqlite = { version = \"0.32\", default-features = false }\n";
    let package = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n")
    };
    write(
        "Cargo.toml",
        &format!(
            "{}[dependencies]\nstamp.path = \"stamp\"\n\n[build-dependencies]\n{rusqlite}",
            package("notes")
        ),
    )?;
    write(
        "stamp/Cargo.toml",
        &format!(
            "{}[lib]\nproc-macro = true\n\n[dependencies]\n{rusqlite}",
            package("stamp")
        ),
    )?;
    write(
        "stamp/src/lib.rs",
        "#[proc_macro]\npub fn version(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
         format!(\"{:?}\", rusqlite::version()).parse().unwrap()\n}\n",
    )?;
    write(
        "build.rs",
        "fn main() {\n    println!(\"cargo::rustc-env=SCRIPT={}\", rusqlite::version());\n}\n",
    )?;
    write("src/lib.rs", "pub const MACRO: &str = stamp::version!();\n")?;
    write(
        "src/main.rs",
        "fn main() {\n    println!(\"{} {}\", env!(\"SCRIPT\"), notes::MACRO);\n}\n",
    )?;
    duct::cmd!("cargo", "update", "--quiet", "--workspace", "--offline")
        .dir(copy.path())
        .run()?;
    let program = program(copy.path(), "notes")?;
    let said = duct::cmd!(program).read()?;
    ensure!(said == "3.40.1 3.40.1", "the program says {said:?}");
    Ok(())
}

/// Two crates that a program is linked from have the same packages, as those that bind MariaDB and PostgreSQL both have
/// OpenSSL.
fn shared_libraries() -> Result<()> {
    let copy = tempfile::tempdir()?;
    duct::cmd!("cp", "-rT", notes()?, copy.path()).run()?;
    let path = copy.path().join("debian.lock");
    let mut lock: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    lock["sets"]["libraries.bitflags"] = lock["sets"]["libraries.libsqlite3-sys"].clone();
    fs::write(&path, lock.to_string())?;
    let image = nix::build(&attribute(copy.path(), "images.notes"))?;
    let said = run(&image, &["hello"], "")?;
    ensure!(said.contains("- hello"), "it says\n{said}");
    Ok(())
}

/// A crate that is known to need packages which no lock pins.
fn not_locked() -> Result<()> {
    let copy = tempfile::tempdir()?;
    duct::cmd!("cp", "-rT", notes()?, copy.path()).run()?;
    fs::remove_file(copy.path().join("debian.lock"))?;
    let image = attribute(copy.path(), "images.notes");
    let said = nix::nix_fails(&["build", "--impure", "--no-link", "--expr", &image])?;
    ensure!(
        said.contains("\"crates.libsqlite3-sys\""),
        "Nix says\n{said}"
    );
    ensure!(said.contains("assemble lock"), "Nix says\n{said}");
    Ok(())
}

/// Without the lock's word on libraries the image would not start, and is not made.
fn library_is_missing() -> Result<()> {
    let copy = tempfile::tempdir()?;
    duct::cmd!("cp", "-rT", notes()?, copy.path()).run()?;
    let path = copy.path().join("debian.lock");
    let lock = fs::read_to_string(&path)?;
    fs::write(
        &path,
        lock.replace("libraries.libsqlite3-sys", "libraries.other"),
    )?;
    let image = attribute(copy.path(), "images.notes");
    let said = nix::nix_fails(&["build", "--impure", "--no-link", "-L", "--expr", &image])?;
    ensure!(
        said.contains("linked to libsqlite3.so.0"),
        "Nix says\n{said}"
    );
    ensure!(
        said.contains("it is called libsqlite3-0"),
        "Nix says\n{said}"
    );
    Ok(())
}
