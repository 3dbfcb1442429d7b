//! The crates that the engine compiles again.

use std::collections::BTreeSet;
use std::process::Command;

use crate::build::*;

#[test]
fn an_edit_compiles_what_depends_on_it_and_nothing_else() {
    let Some(build) = build_or_skip("an_edit_compiles_what_depends_on_it_and_nothing_else") else {
        return;
    };
    let both = |build: &Build| {
        (
            build.target("gateway-output"),
            build.target("supervisor-output"),
        )
    };
    let none = BTreeSet::new();

    let (gateway, supervisor) = both(&build);
    let everything = set(&[&MEMBERS[..], &["itoa"]].concat());
    assert_eq!(gateway, everything, "cold");
    assert_eq!(supervisor, set(&["supervisor"]), "cold, after the other");
    assert_eq!(
        both(&build),
        (none.clone(), none.clone()),
        "nothing changed"
    );

    build.append("crates/supervisor/src/main.rs", "// edited\n");
    assert_eq!(
        both(&build),
        (none.clone(), set(&["supervisor"])),
        "an edit in supervisor"
    );

    build.append("crates/gateway/src/main.rs", "// edited\n");
    // The supervisor's placeholder in the gateway's stage is unchanged.
    assert_eq!(
        both(&build),
        (set(&["gateway"]), none.clone()),
        "an edit in gateway"
    );

    build.append("proto/api.proto", "// edited\n");
    assert_eq!(
        both(&build),
        (set(&["gateway"]), none.clone()),
        "an edit in a declared file"
    );

    build.append("crates/gateway/README.md", "edited\n");
    build.append("crates/gateway/tests/api.rs", "// edited\n");
    build.append("crates/unused/src/main.rs", "// edited\n");
    build.append("README.md", "edited\n");
    assert_eq!(
        both(&build),
        (none.clone(), none.clone()),
        "an edit in a README, a test, an unused crate"
    );

    build.edit(
        "Cargo.toml",
        "unused_imports = \"warn\"",
        "unused_imports = \"deny\"",
    );
    build.edit("Cargo.toml", "version = \"0.1.0\"", "version = \"0.1.7\"");
    let (gateway, supervisor) = both(&build);
    assert!(
        !gateway.is_empty(),
        "a version bump must reach the programs"
    );
    let members = set(&MEMBERS);
    assert!(
        gateway.is_subset(&members),
        "a version bump compiled {gateway:?}"
    );
    assert!(
        supervisor.is_subset(&members),
        "a version bump compiled {supervisor:?}"
    );

    build.append("crates/fleet/src/lib.rs", "// edited\n");
    let (gateway, supervisor) = both(&build);
    assert!(
        gateway.contains("fleet") && gateway.is_subset(&members),
        "shared code: {gateway:?}"
    );
    assert_eq!(
        supervisor,
        set(&["supervisor"]),
        "shared code, compiled once"
    );
}

#[test]
fn a_prebuilt_builder_compiles_nothing_and_must_have_the_program() {
    let Some(build) =
        build_or_skip("a_prebuilt_builder_compiles_nothing_and_must_have_the_program")
    else {
        return;
    };
    // The last part of the tag is unique to this test.
    let unique = build
        .path()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .to_lowercase();
    let tag = format!("crateyard-test-builder:{}", unique.trim_start_matches('.'));
    let outcome = build.docker(&["--target=builder", "--output=type=docker", "--tag", &tag]);
    assert!(outcome.success, "{}", outcome.log);
    let context = format!("prebuilt=docker-image://{tag}");
    let prebuilt = [
        "--build-arg=BUILDER_IMAGE=prebuilt",
        "--build-context",
        &context,
    ];

    build.append(
        "crates/fleet/src/lib.rs",
        "compile_error!(\"nothing is compiled\");\n",
    );
    for target in ["gateway", "gateway-bare", "supervisor"] {
        let outcome = build.docker(
            &[
                &["--target", target, "--output=type=cacheonly"],
                &prebuilt[..],
            ]
            .concat(),
        );
        assert!(outcome.success, "{target}: {}", outcome.log);
        assert_eq!(outcome.compiled, BTreeSet::new(), "{target}");
        assert!(
            !outcome.log.contains("[dependencies"),
            "{target} is not pruned: {}",
            outcome.log
        );
    }

    fourteen_variants_compile_nothing(&build, &context);

    let toolchain = ["--build-arg=BUILDER_IMAGE=builder-image"];
    let outcome = build.docker(
        &[
            &["--target=gateway", "--output=type=cacheonly"],
            &toolchain[..],
        ]
        .concat(),
    );
    assert!(!outcome.success);
    assert!(
        outcome.log.contains("test -x /out/gateway"),
        "{}",
        outcome.log
    );
    let _ = Command::new("docker").args(["image", "rm", &tag]).output();
}

/// Builds all variants in one call of bake, with an existing builder.
fn fourteen_variants_compile_nothing(build: &Build, prebuilt: &str) {
    let names: Vec<String> = (1..=14).map(|number| format!("v{number}")).collect();
    for name in &names {
        let variant = format!(
            "\n[images.gateway.variants.{name}]\nenvironment = {{ VARIANT = \"{name}\" }}\n"
        );
        build.append("images.toml", &variant);
    }
    build.generate();
    let output = Command::new("docker")
        .args(["buildx", "bake", "--progress=plain"])
        .args(["--set=*.output=type=cacheonly"])
        .arg(format!("--set=*.contexts.{prebuilt}"))
        .args(names.iter().map(|name| format!("gateway-{name}")))
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
        .env("BUILDER_IMAGE", "prebuilt")
        .env("TOOLCHAIN", &build.toolchain)
        .env("BASE", &build.toolchain)
        .current_dir(build.path())
        .output()
        .unwrap();
    let log = text_of(&output);
    assert!(output.status.success(), "{log}");
    assert_eq!(compiled(&log), BTreeSet::new());
    assert!(!log.contains("RUN --network=none"), "not pruned: {log}");
    for name in &names {
        assert!(log.contains(&format!("[gateway-{name}")), "{name}: {log}");
    }
}

#[test]
fn codegen_units_reach_dependencies_and_members() {
    let Some(build) = build_or_skip("codegen_units_reach_dependencies_and_members") else {
        return;
    };
    build.append(".cargo/config.toml", "\n[term]\nverbose = true\n");
    let outcome = build.docker(&[
        "--target=gateway-output",
        "--output=type=cacheonly",
        "--build-arg=CODEGEN_UNITS=1",
    ]);
    assert!(outcome.success, "{}", outcome.log);
    for package in ["itoa", "fleet", "gateway"] {
        let name = format!("--crate-name {package} ");
        let mut calls = outcome.log.lines().filter(|line| line.contains(&name));
        assert!(
            calls.all(|call| call.contains("codegen-units=1 ")),
            "{package}: {}",
            outcome.log
        );
        assert!(outcome.log.contains(&name), "{package}: {}", outcome.log);
    }
}
