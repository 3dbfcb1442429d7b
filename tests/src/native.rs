//! C and C++ libraries: crates compile against them, and images hold them.

use crate::checkout::{self, copy_of, repository};
use crate::engine::run;
use crate::init::init;
use crate::nix;
use crate::trial::trial_with;
use crate::workspaces::{attribute, binary as program, fetch, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("native::{name}"), tools, run);
    let runs = &["umoci", "runc"];
    vec![
        test("libraries_come_from_debian", runs, notes_run),
        test(
            "build_scripts_and_macros_load_libraries",
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
        test("features_decide_whose_library_it_is", runs, features_decide),
        test("cplusplus_brings_its_library", runs, cplusplus),
    ]
}

fn notes() -> Result<PathBuf> {
    let workspace = repository().join("nix/templates/c-dependencies");
    fetch(&workspace, &workspace.join("debian.lock"))?;
    Ok(workspace)
}

/// A crate is compiled against Debian's SQLite, and the image has its library.
fn notes_run() -> Result<()> {
    let image = nix::build(&attribute(&notes()?, "images.notes"))?;
    let said = run(&image, &["hello"], "")?;
    ensure!(said == "SQLite 3.40.1\n- hello\n", "it says\n{said}");
    Ok(())
}

/// A build script and a macro call SQLite. Both load Debian's library when they run; the macro
/// loads it into rustc.
fn loaded_while_compiling() -> Result<()> {
    let copy = copy_of(&notes()?)?;
    let write = |name: &str, text: &str| checkout::write(copy.path(), name, text);
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
        "#[proc_macro]\npub fn version(_: proc_macro::TokenStream) -> proc_macro::TokenStream \
         {\n    format!(\"{:?}\", rusqlite::version()).parse().unwrap()\n}\n",
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

/// Two crates of one program need the same packages, just as the bindings of MariaDB and PostgreSQL
/// both need OpenSSL.
fn shared_libraries() -> Result<()> {
    let copy = copy_of(&notes()?)?;
    let path = copy.path().join("debian.lock");
    let mut lock: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    lock["sets"]["libraries.bitflags"] = lock["sets"]["libraries.libsqlite3-sys"].clone();
    fs::write(&path, lock.to_string())?;
    let image = nix::build(&attribute(copy.path(), "images.notes"))?;
    let said = run(&image, &["hello"], "")?;
    ensure!(said.contains("- hello"), "it says\n{said}");
    Ok(())
}

/// A crate that needs packages which no lock pins.
fn not_locked() -> Result<()> {
    let copy = copy_of(&notes()?)?;
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

/// If the lock lacks a library, the image would not start, so the build fails.
fn library_is_missing() -> Result<()> {
    let copy = copy_of(&notes()?)?;
    let path = copy.path().join("debian.lock");
    let lock = fs::read_to_string(&path)?;
    fs::write(
        &path,
        lock.replace("libraries.libsqlite3-sys", "libraries.other"),
    )?;
    let image = attribute(copy.path(), "images.notes");
    let said = nix::build_fails(&image)?;
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

/// A feature that is off would make the crate compile its own copy. `Cargo.lock` names the crates
/// for that anyway.
fn features_decide() -> Result<()> {
    let copy = copy_of(&notes()?)?;
    append(
        &copy.path().join("Cargo.toml"),
        "\n[features]\nbundled = [\"rusqlite/bundled\"]\n",
    )?;
    duct::cmd!("cargo", "generate-lockfile", "--quiet")
        .dir(copy.path())
        .run()?;
    let lock = fs::read_to_string(copy.path().join("Cargo.lock"))?;
    ensure!(lock.contains("name = \"cc\""), "the lock is\n{lock}");
    fetch(copy.path(), &copy.path().join("debian.lock"))?;
    let takes = "libsqlite3-sys is compiled with libsqlite3-dev";
    let said = init(copy.path(), &[])?;
    ensure!(said.contains(takes), "assemble init says\n{said}");
    let image = nix::build(&attribute(copy.path(), "images.notes"))?;
    let said = run(&image, &["hello"], "")?;
    ensure!(said.contains("SQLite 3.40.1\n"), "it says\n{said}");
    append(
        &copy.path().join("images.toml"),
        "\n[build]\nfeatures = [\"bundled\"]\n",
    )?;
    let said = init(copy.path(), &[])?;
    ensure!(!said.contains(takes), "assemble init says\n{said}");
    Ok(())
}

/// A build script compiles C++. No crate's packages name the C++ library, but the program does.
fn cplusplus() -> Result<()> {
    let script = r#"fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/hello.cc"), include_str!("hello.cc")).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let done = std::process::Command::new(program).args(arguments).current_dir(&out).status();
        assert!(done.unwrap().success());
    };
    run("c++", &["-c", "hello.cc"]);
    run("ar", &["crD", "libhello.a", "hello.o"]);
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=hello");
    println!("cargo::rustc-link-lib=stdc++");
}
"#;
    let main =
        "unsafe extern \"C\" {\n    fn hello();\n}\n\nfn main() {\n    unsafe { hello() }\n}\n";
    let workspace = small("cplusplus", main, script)?;
    fs::write(
        workspace.path().join("hello.cc"),
        "#include <iostream>\nextern \"C\" void hello() { std::cout << \"from C++\" << std::endl; \
         }\n",
    )?;
    let image = nix::build(&attribute(workspace.path(), "images.cplusplus"))?;
    let said = run(&image, &[], "")?;
    ensure!(said == "from C++\n", "it says\n{said}");
    let names = packages(&image)?;
    ensure!(
        names.iter().any(|name| name == "libstdc++6"),
        "the bill of materials has {names:?}"
    );
    let plain = small("plain", "fn main() {}", "")?;
    let names = packages(&nix::build(&attribute(plain.path(), "images.plain"))?)?;
    ensure!(
        names.iter().any(|name| name == "libc6") && !names.iter().any(|name| name == "libstdc++6"),
        "an image without C++ has {names:?}"
    );
    Ok(())
}

/// Returns the names of all packages in an image's bill of materials.
fn packages(image: &Path) -> Result<Vec<String>> {
    let path = image.join("attestations/linux-amd64/sbom.spdx.json");
    let text = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    let document: Value = serde_json::from_str(&text)?;
    let packages = document["packages"].as_array().context("no packages")?;
    let names = packages
        .iter()
        .filter_map(|package| package["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

fn append(path: &Path, text: &str) -> Result<()> {
    let old = fs::read_to_string(path)?;
    Ok(fs::write(path, old + text)?)
}
