//! Compares the files generated for `dockerfile/workspace` with those in `dockerfile/expected`.
//!
//! `UPDATE=1` writes the expected files. Read them before you commit them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crateyard_dockerfile::BAKE;
use fixture::for_workspace;

mod fixture;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfile")
}

#[test]
fn the_files_are_as_expected() {
    let expected = directory().join("expected");
    for (name, text) in for_workspace(&directory().join("workspace")).unwrap() {
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&expected).unwrap();
            fs::write(expected.join(name), &text).unwrap();
        }
        assert_eq!(
            text,
            fs::read_to_string(expected.join(name)).unwrap(),
            "{name}"
        );
    }
}

/// The files at the root of this workspace itself.
#[test]
fn our_own_files_have_not_drifted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (name, text) in for_workspace(&root).unwrap() {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(root.join(name), &text).unwrap();
        }
        let there = fs::read_to_string(root.join(name)).unwrap_or_default();
        assert!(
            there == text,
            "{name} has drifted: run `assemble dockerfile`"
        );
    }
}

/// Only the bake file has tags, so only it contains a version.
#[test]
fn a_version_bump_leaves_the_dockerfile_alone() {
    let workspace = fixture::copy();
    let before = for_workspace(workspace.path()).unwrap();
    fixture::edit(
        workspace.path(),
        "Cargo.toml",
        "version = \"0.1.0\"",
        "version = \"0.1.7\"",
    );
    let after = for_workspace(workspace.path()).unwrap();
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        assert_eq!(before == after, name != BAKE, "{name}");
    }
}

/// A program that may link to Debian's libraries has a base with them; the others do not.
#[test]
fn libraries_of_crates_are_in_a_base_of_its_own() {
    let workspace = fixture::copy();
    let lock = r#"{"version": 1, "sets": {"libraries.marks": {}, "libraries.unused": {}}}"#;
    fs::write(workspace.path().join("debian.lock"), lock).unwrap();
    let [(_, dockerfile), (_, bake), _] = for_workspace(workspace.path()).unwrap();
    for expected in [
        "FROM gateway-base-image AS gateway\n",
        "FROM base-image AS supervisor\n",
    ] {
        assert!(dockerfile.contains(expected), "{expected}: {dockerfile}");
    }
    let context = "\"gateway-base-image\" = \"oci-layout://${LAYOUTS}/gateway-base-image\"";
    assert!(bake.contains(context), "{bake}");
}

#[test]
fn a_path_dependency_outside_the_workspace_is_refused_by_name() {
    let workspace = fixture::copy();
    let outside = workspace.path().join("excluded");
    fs::create_dir_all(outside.join("src")).unwrap();
    fs::write(
        outside.join("Cargo.toml"),
        "[package]\nname = \"outside\"\n",
    )
    .unwrap();
    fs::write(outside.join("src/lib.rs"), "").unwrap();
    let manifest = "members = [\"crates/*\"]";
    fixture::edit(
        workspace.path(),
        "Cargo.toml",
        manifest,
        &format!("{manifest}\nexclude = [\"excluded\"]"),
    );
    let marks = "marks = { path = \"../marks\" }";
    let outside = format!("{marks}\noutside = {{ path = \"../../excluded\" }}");
    fixture::edit(
        workspace.path(),
        "crates/gateway/Cargo.toml",
        marks,
        &outside,
    );
    let error = for_workspace(workspace.path()).unwrap_err().to_string();
    assert!(error.contains("`gateway` depends on `outside`"), "{error}");
}

/// `COPY` would silently drop them.
#[test]
fn capabilities_and_attributes_are_refused_by_name() {
    let workspace = fixture::copy();
    let images = workspace.path().join("images.toml");
    let more = "\n[images.low]\n\
        binaries = [{ package = \"gateway\", capabilities = [\"cap_net_bind_service\"] }]\n\
        files = [{ text = \"x\", path = \"/srv/x\", xattrs = { \"user.note\" = \"x\" } }]\n";
    let text = fs::read_to_string(&images).unwrap() + more;
    fs::write(&images, text).unwrap();
    let error = for_workspace(workspace.path()).unwrap_err().to_string();
    let things = "the extended attributes of `/srv/x` of the image `low`, \
                  the capabilities of `/usr/bin/gateway` of the image `low`";
    assert!(
        error.contains(things) && error.contains("assemble build"),
        "{error}"
    );
}

#[test]
fn a_wrong_description_is_told_as_everywhere() {
    let workspace = fixture::copy();
    fixture::edit(
        workspace.path(),
        "images.toml",
        "deploy/chart\"",
        "deploy/chrat\"",
    );
    let error = for_workspace(workspace.path()).unwrap_err().to_string();
    assert!(
        error.contains("there is no `deploy/chrat` in the workspace"),
        "{error}"
    );
    assert!(error.contains("did you mean `deploy/chart`?"), "{error}");
}

/// The scripts of the stage `recipe` run in any image that people choose, so every awk must give
/// the same output.
#[test]
fn the_recipe_is_the_same_with_every_awk() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let expected = fs::read_to_string(directory().join("tricky.expected.toml")).unwrap();
    let lock = fs::read_to_string(directory().join("workspace/Cargo.lock")).unwrap();
    let mut tried = 0;
    for awk in [
        &["mawk"][..],
        &["gawk"],
        &["gawk", "--posix"],
        &["busybox", "awk"],
    ] {
        let run = |script: &str, members: &str, input: &Path| {
            Command::new(awk[0])
                .args(&awk[1..])
                .args(["-v", &format!("members={members}"), "-f"])
                .arg(source.join(script))
                .arg(input)
                .stderr(Stdio::inherit())
                .output()
        };
        let Ok(output) = run("manifest.awk", "", &directory().join("tricky.toml")) else {
            let test = "the_recipe_is_the_same_with_every_awk";
            fixture::skipped(test, &format!("there is no {}", awk[0]));
            continue;
        };
        tried += 1;
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{awk:?}");
        let output = run(
            "lock.awk",
            "gateway fleet",
            &directory().join("workspace/Cargo.lock"),
        )
        .unwrap();
        let masked = String::from_utf8(output.stdout).unwrap();
        let of = |name: &str, version: &str| format!("name = \"{name}\"\nversion = \"{version}\"");
        let wanted = lock
            .replace(&of("gateway", "0.1.0"), &of("gateway", "0.0.0"))
            .replace(&of("fleet", "0.1.0"), &of("fleet", "0.0.0"));
        assert_eq!(masked.trim_end(), wanted.trim_end(), "{awk:?}");
    }
    assert!(tried > 0, "there is no awk at all");
}
