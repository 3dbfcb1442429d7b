//! Workspaces whose files are not regular files, or lead out of them. Commands must refuse them
//! without waiting or quoting anything.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bounded::refuses;
use crate::inputs::directory;

const SECRET: &str = "nobody-else-s-business";

/// The files that commands read by name.
const FILES: [&str; 14] = [
    "Cargo.toml",
    "Cargo.lock",
    "images.toml",
    "flake.nix",
    "flake.lock",
    "debian.lock",
    "toolchain.lock",
    "rust-toolchain.toml",
    ".cargo/config.toml",
    ".gitattributes",
    ".gitignore",
    ".gitmodules",
    "audit.toml",
    "deploy.toml",
];

/// Returns all commands that read a workspace.
fn commands(workspace: &str) -> Vec<Vec<String>> {
    let file = |name: &str| format!("{workspace}/{name}");
    let (images, debian, cargo) = (file("images.toml"), file("debian.lock"), file("Cargo.lock"));
    let lists: [&[&str]; 12] = [
        &["init", "--workspace", workspace],
        &["build", "--workspace", workspace],
        &["build", "--workspace", workspace, "--engine", "cargo"],
        &["plan", "--workspace", workspace],
        &["dockerfile", "--workspace", workspace],
        &["lock", "--images", &images],
        &["fetch", "--lock", &debian, "--cargo-lock", &cargo],
        &["affected", "--workspace", workspace, "--since", "HEAD"],
        &["audit", "--workspace", workspace, "--plan"],
        &["deploy", "--workspace", workspace, "--dry-run"],
        &["resolve", "--workspace", workspace],
        &["shell", "--workspace", workspace, "--", "true"],
    ];
    let owned = |words: &&[&str]| words.iter().map(ToString::to_string).collect();
    lists.iter().map(owned).collect()
}

/// Makes a workspace with an image.
fn workspace(place: &Path) -> PathBuf {
    let root = place.join("workspace");
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = \"x\"\nversion = \"0.1.0\"\n",
        ),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"x\"\nversion = \"0.1.0\"\n",
        ),
        (
            "images.toml",
            "version = 1\n[images.x]\nbinaries = [\"x\"]\n",
        ),
        ("flake.nix", "{ outputs = { self }: { }; }\n"),
        ("src/main.rs", "fn main() {}\n"),
    ];
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

/// Replaces each file with something else, and expects each command to say why it does not read the
/// file.
fn expect_refused(make: impl Fn(&Path), why: &str) {
    for name in FILES {
        let place = directory();
        let root = workspace(place.path());
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        make(&path);
        for command in commands(root.to_str().unwrap()) {
            let (_, said) = refuses(&command, why);
            assert!(said.contains(name), "{command:?}: {said}");
            assert!(!said.contains(SECRET), "{command:?}: {said}");
        }
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let pipe = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    expect_refused(pipe, "not a regular file");
}

#[test]
fn a_link_out_of_the_workspace_is_not_followed() {
    let other = directory();
    let secret = other.path().join("secret");
    fs::write(&secret, format!("{SECRET} = ")).unwrap();
    let to_secret = |path: &Path| symlink(&secret, path).unwrap();
    expect_refused(to_secret, "lies outside of");
    let to_zeros = |path: &Path| symlink("/dev/zero", path).unwrap();
    expect_refused(to_zeros, "lies outside of");
}

/// Cargo reads the manifests of members, and its errors quote them.
#[test]
fn a_members_manifest_is_a_file_of_the_workspace() {
    let other = directory();
    let secret = other.path().join("secret");
    fs::write(&secret, format!("{SECRET} = ")).unwrap();
    let pipe = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let link = |path: &Path| symlink(&secret, path).unwrap();
    for (make, why) in [
        (&link as &dyn Fn(&Path), "lies outside of"),
        (&pipe as &dyn Fn(&Path), "not a regular file"),
    ] {
        let place = directory();
        let root = workspace(place.path());
        let manifest = root.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(
            manifest,
            format!("{text}\n[workspace]\nmembers = [\"a/b\"]\n"),
        )
        .unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        make(&root.join("a/b/Cargo.toml"));
        let root = root.to_str().unwrap();
        for command in [
            &["init", "--workspace", root][..],
            &["dockerfile", "--workspace", root],
            &["build", "--workspace", root, "--engine", "cargo"],
        ] {
            let (_, said) = refuses(command, why);
            assert!(said.contains("a/b/Cargo.toml"), "{command:?}: {said}");
            assert!(!said.contains(SECRET), "{command:?}: {said}");
        }
    }
}

/// `init` looks into sources, Dockerfiles and charts for what an image needs.
#[test]
fn what_init_looks_into_makes_it_wait_for_nothing() {
    let place = directory();
    let root = workspace(place.path());
    fs::create_dir(root.join("chart")).unwrap();
    for name in ["src/pipe.rs", "Dockerfile", "chart/Chart.yaml"] {
        let path = root.join(name);
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    symlink("/dev/zero", root.join("src/zeros.rs")).unwrap();
    let words = ["init", "--workspace", root.to_str().unwrap()];
    let (code, said) = crate::bounded::survives(&words);
    assert_eq!(code, 0, "{said}");
}
