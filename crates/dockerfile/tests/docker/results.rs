//! The exported programs and images.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::build::*;
use crateyard_dockerfile::DOCKERFILE;
use tempfile::TempDir;

#[test]
fn the_output_stage_is_the_program_and_nothing_else() {
    let Some(build) = build_or_skip("the_output_stage_is_the_program_and_nothing_else") else {
        return;
    };
    let out = build.exported("gateway-output", &[]);
    let names: Vec<_> = fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["gateway"]);
    let said = Command::new(out.path().join("gateway")).output().unwrap();
    assert_eq!(text_of(&said), "hello gateway 42 marked syntax 0.1.0\n");

    let again = build.exported("gateway-output", &["--no-cache"]);
    let bytes = |directory: &TempDir| fs::read(directory.path().join("gateway")).unwrap();
    assert!(
        bytes(&out) == bytes(&again),
        "two builds gave different bytes"
    );
}

/// The directory of the root's own package holds everything, and not all of it is copied.
#[test]
fn a_package_at_the_root_with_two_programs_is_built() {
    let test = "a_package_at_the_root_with_two_programs_is_built";
    let Some(build) = build_of_or_skip("solo", test) else {
        return;
    };
    let said = |target: &str, program: &str| {
        let out = build.exported(target, &[]);
        text_of(&Command::new(out.path().join(program)).output().unwrap())
    };
    assert_eq!(said("solo-output", "solo"), "7 built\n");
    assert_eq!(said("solo-other-output", "solo-other"), "other\n");
    build.append("tests/t.rs", "// edited\n");
    assert_eq!(
        build.target("solo-output"),
        BTreeSet::new(),
        "an edit in a test"
    );
    build.append("src/helper.rs", "// edited\n");
    assert_eq!(
        build.target("solo-output"),
        set(&["solo"]),
        "an edit in a module"
    );
}

#[test]
fn an_image_is_what_the_description_says() {
    let Some(build) = build_or_skip("an_image_is_what_the_description_says") else {
        return;
    };
    let out = build.exported("gateway-bare", &[]);
    let mode = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::symlink_metadata(out.path().join(path)).unwrap();
        format!("{:o}", metadata.mode() & 0o7777)
    };
    assert_eq!(mode("usr/bin/gateway"), "755");
    assert_eq!(mode("etc/app/run"), "755");
    assert_eq!(mode("etc/app/a.conf"), "644");
    assert_eq!(mode("srv/README.md"), "640");
    assert_eq!(mode("srv"), "700");
    // Nobody asked for this image, but the build must find its contents.
    assert_eq!(mode("etc"), "755");
    let link = fs::read_link(out.path().join("usr/bin/gw")).unwrap();
    assert_eq!(link, Path::new("gateway"));
    let accounts = fs::read_to_string(out.path().join("etc/passwd")).unwrap();
    assert!(accounts.contains("app:x:10001:10001:"), "{accounts}");
}

#[test]
fn every_target_passes_the_engines_own_checks() {
    let Some(build) = build_or_skip("every_target_passes_the_engines_own_checks") else {
        return;
    };
    let bundle = tempfile::tempdir().unwrap();
    let bundle = format!("bundle={}", bundle.path().display());
    let dockerfile = fs::read_to_string(build.path().join(DOCKERFILE)).unwrap();
    let stages: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| {
            line.strip_prefix("FROM ")?
                .split_once(" AS ")
                .map(|(_, name)| name)
        })
        .collect();
    assert!(stages.len() > 10, "{stages:?}");
    for stage in stages {
        let outcome = build.docker(&["--check", "--target", stage, "--build-context", &bundle]);
        assert!(outcome.success, "{stage}: {}", outcome.log);
        assert!(
            outcome.log.contains("no warnings found"),
            "{stage}: {}",
            outcome.log
        );
    }
}
