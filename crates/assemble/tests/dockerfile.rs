//! `assemble dockerfile` writes missing and outdated files, and `--check` finds them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const FILES: [&str; 3] = [
    "Dockerfile.images",
    "docker-bake.hcl",
    "Dockerfile.images.dockerignore",
];

fn assemble(workspace: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assemble"))
        .arg("dockerfile")
        .arg("--workspace")
        .arg(workspace)
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Makes a workspace with one program and one image.
fn workspace() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "Cargo.toml",
        "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
    );
    write(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"one\"\nversion = \"0.1.0\"\n",
    );
    write("src/main.rs", "fn main() {}\n");
    write(
        "images.toml",
        "version = 1\n\n[debian]\nsuites = [\"bookworm\"]\n\n[debian.sets.toolchain]\npackages = \
         [\"rustc-web\"]\n\n[debian.sets.base]\npackages = [\"libc6\"]\n\n[images.one]\nbinaries = \
         [\"one\"]\n",
    );
    directory
}

#[test]
fn writes_and_finds_drift() {
    let workspace = workspace();
    let check = |expected: &str| {
        let output = assemble(workspace.path(), &["--check"]);
        assert!(!output.status.success());
        assert!(said(&output).contains(expected), "{}", said(&output));
    };
    check("Dockerfile.images is missing");
    assert!(
        !workspace.path().join(FILES[0]).exists(),
        "--check wrote a file"
    );

    let output = assemble(workspace.path(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output).lines().count(), FILES.len());
    assert!(assemble(workspace.path(), &["--check"]).status.success());
    assert_eq!(
        said(&assemble(workspace.path(), &[])),
        "",
        "nothing had drifted"
    );

    let dockerfile = workspace.path().join(FILES[0]);
    let text = fs::read_to_string(&dockerfile).unwrap();
    fs::write(
        &dockerfile,
        text.replace("FROM scratch AS vendor", "FROM scratch AS vender"),
    )
    .unwrap();
    check("expected `FROM scratch AS vendor`, found `FROM scratch AS vender`");
    fs::write(&dockerfile, format!("{text}RUN more\n")).unwrap();
    check("expected the end of the file");
}

#[test]
fn a_wrong_description_is_quoted() {
    let workspace = workspace();
    let file = workspace.path().join("images.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        file,
        text.replace("binaries = [\"one\"]", "binaries = [\"two\"]"),
    )
    .unwrap();
    let output = assemble(workspace.path(), &[]);
    assert!(!output.status.success());
    let said = said(&output);
    assert!(
        said.contains("images.toml:13:13: error: the workspace has no package `two`"),
        "{said}"
    );
    assert!(said.contains("13 | binaries = [\"two\"]"), "{said}");
}
