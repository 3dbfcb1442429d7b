//! The way from the arguments of Cargo's processes to units and their dependencies.

use crateyard_plan::record::Record;
use crateyard_plan::sources::Packages;
use crateyard_plan::{FetchedPackage, Origin, Plan, graph};
use crateyard_unit::{Action, TargetKind};
use std::collections::BTreeMap;

const TARGET: &str = "/cargo/target/x86_64-unknown-linux-gnu/release";
const HOST: &str = "/cargo/target/release";

/// Returns the variables that Cargo sets for a package of the registry.
fn registry(name: &str, version: &str) -> BTreeMap<String, String> {
    package(name, version, &format!("/cargo/registry/{name}-{version}"))
}

fn package(name: &str, version: &str, directory: &str) -> BTreeMap<String, String> {
    let entries = [
        ("CARGO_PKG_NAME", name),
        ("CARGO_PKG_VERSION", version),
        ("CARGO_MANIFEST_DIR", directory),
        ("LD_LIBRARY_PATH", "/cargo/target/release/deps"),
    ];
    entries
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn rustc(env: BTreeMap<String, String>, arguments: &str) -> Record {
    let argv = std::iter::once("/cargo/stand-ins/rustc").chain(arguments.split_whitespace());
    Record {
        argv: argv.map(str::to_owned).collect(),
        env,
        cwd: "/workspace".into(),
    }
}

/// Returns the records of `app` (a binary with a build script) → `z-sys` (a library with `links =
/// "z"`), and a macro.
fn records() -> Vec<Record> {
    let z = || registry("z-sys", "1.2.0");
    let app = || package("app", "0.1.0", "/workspace/app");
    let with = |mut env: BTreeMap<String, String>, more: &[(&str, &str)]| {
        env.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        env
    };
    let run = |env: BTreeMap<String, String>, program: &str, out_dir: &str| Record {
        argv: vec![program.to_owned()],
        env: with(env, &[("OUT_DIR", out_dir)]),
        cwd: "/workspace".into(),
    };
    let z_out = format!("{TARGET}/build/z-sys-2222/out");
    let app_out = format!("{TARGET}/build/app-5555/out");
    let script = "--edition=2021 --crate-type bin --emit=dep-info,link";
    vec![
        rustc(
            with(
                app(),
                &[("CARGO_BIN_NAME", "my-app"), ("OUT_DIR", &app_out)],
            ),
            &format!(
                "--crate-name my_app src/main.rs --crate-type bin --emit=dep-info,link -C \
                 extra-filename=-6666 --out-dir {TARGET}/deps --extern \
                 z_sys={TARGET}/deps/libz_sys-3333.rlib --extern mac={HOST}/deps/libmac-7777.so"
            ),
        ),
        rustc(
            with(z(), &[("OUT_DIR", &z_out)]),
            &format!(
                "--crate-name z_sys src/lib.rs --crate-type lib --emit=dep-info,metadata,link \
                 -C extra-filename=-3333 --out-dir {TARGET}/deps"
            ),
        ),
        rustc(
            registry("mac", "2.0.0"),
            &format!(
                "--crate-name mac src/lib.rs --crate-type proc-macro --emit=dep-info,link \
                 -C extra-filename=-7777 --out-dir {HOST}/deps --extern proc_macro"
            ),
        ),
        rustc(
            z(),
            &format!(
                "--crate-name build_script_build {script} -C extra-filename=-1111 \
                 --out-dir {HOST}/build/z-sys-1111"
            ),
        ),
        rustc(
            app(),
            &format!(
                "--crate-name build_script_build {script} -C extra-filename=-4444 \
                 --out-dir {HOST}/build/app-4444"
            ),
        ),
        run(
            z(),
            &format!("{HOST}/build/z-sys-1111/build-script-build"),
            &z_out,
        ),
        run(
            with(app(), &[("DEP_Z_CRATEYARD_OUT_DIR", &z_out)]),
            &format!("{HOST}/build/app-4444/build-script-build"),
            &app_out,
        ),
    ]
}

fn locked(name: &str, version: &str) -> FetchedPackage {
    FetchedPackage {
        name: name.into(),
        version: version.into(),
        source: "registry+https://github.com/rust-lang/crates.io-index".into(),
        checksum: Some("00".into()),
        path: "/store/file.crate".into(),
    }
}

fn made() -> Plan {
    graph::plan(
        &records(),
        &Packages::new(&[locked("z-sys", "1.2.0"), locked("mac", "2.0.0")]).unwrap(),
    )
    .unwrap()
}

#[test]
fn every_process_is_a_unit_named_after_what_it_is() {
    let plan = made();
    let names: Vec<&str> = plan.units.values().map(|p| p.unit.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "app-0.1.0-bin-my-app",
            "app-0.1.0-build-script",
            "app-0.1.0-build-script-run",
            "mac-2.0.0",
            "z-sys-1.2.0",
            "z-sys-1.2.0-build-script",
            "z-sys-1.2.0-build-script-run",
        ]
    );
}

#[test]
fn dependencies_are_those_that_cargo_gave() {
    let plan = made();
    let below = |key: &str| plan.units[key].dependencies.clone();
    assert_eq!(
        below("app-0.1.0-bin-my-app-6666"),
        [
            "app-0.1.0-build-script-run-5555",
            "mac-2.0.0-7777",
            "z-sys-1.2.0-3333"
        ]
    );
    assert_eq!(
        below("app-0.1.0-build-script-run-5555"),
        [
            "app-0.1.0-build-script-4444",
            "z-sys-1.2.0-build-script-run-2222"
        ]
    );
    assert_eq!(
        below("z-sys-1.2.0-3333"),
        ["z-sys-1.2.0-build-script-run-2222"]
    );
}

#[test]
fn native_libraries_come_from_the_own_script_first() {
    let plan = made();
    let Action::Compile {
        native,
        build_script,
        takes_link_libs,
        target,
        ..
    } = &plan.units["app-0.1.0-bin-my-app-6666"].unit.action
    else {
        panic!("a binary is compiled");
    };
    let own = format!("{TARGET}/build/app-5555/out");
    assert_eq!(build_script.as_ref(), Some(&own));
    assert_eq!(*native, [own, format!("{TARGET}/build/z-sys-2222/out")]);
    // The package has no library, so its binary gets the flags.
    assert!(takes_link_libs);
    assert_eq!(
        (target.kind, target.name.as_str()),
        (TargetKind::Bin, "my-app")
    );
}

#[test]
fn metadata_of_links_comes_from_the_script_that_says_it() {
    let plan = made();
    let unit = &plan.units["app-0.1.0-build-script-run-5555"].unit;
    let Action::RunBuildScript { metadata, .. } = &unit.action else {
        panic!("a build script runs");
    };
    let expected = format!("{TARGET}/build/z-sys-2222/out");
    assert_eq!(*metadata, BTreeMap::from([("DEP_Z".to_owned(), expected)]));
    assert!(!unit.env.contains_key("DEP_Z_CRATEYARD_OUT_DIR"));
}

#[test]
fn entries_of_third_parties_hold_nothing_of_the_workspace() {
    let plan = made();
    let entry = serde_json::to_string(&plan.units["mac-2.0.0-7777"].unit).unwrap();
    assert!(!entry.contains("app"), "{entry}");
    assert!(!entry.contains("LD_LIBRARY_PATH"), "{entry}");
    assert!(matches!(
        plan.units["mac-2.0.0-7777"].package.origin,
        Origin::Registry { .. }
    ));
}

#[test]
fn the_order_of_the_records_does_not_matter() {
    let mut reversed = records();
    reversed.reverse();
    let packages = [locked("z-sys", "1.2.0"), locked("mac", "2.0.0")];
    let again = graph::plan(&reversed, &Packages::new(&packages).unwrap()).unwrap();
    let text = |plan: &Plan| serde_json::to_string(plan).unwrap();
    assert_eq!(text(&again), text(&made()));
}

#[test]
fn a_package_that_is_in_no_lock_is_refused() {
    let error = graph::plan(
        &records(),
        &Packages::new(&[locked("z-sys", "1.2.0")]).unwrap(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("/cargo/registry/mac-2.0.0"),
        "{error}"
    );
}

/// Returns the processes that `cargo test` starts for `app`: a binary, an integration test with a
/// dash in its name, and its run.
fn test_records() -> Vec<Record> {
    let app = || package("app", "0.1.0", "/workspace/app");
    let with = |name: &str, value: &str| {
        let mut env = app();
        env.insert(name.to_owned(), value.to_owned());
        env
    };
    let mut compiled = with("CARGO_BIN_EXE_my-app", &format!("{TARGET}/my-app"));
    compiled.insert("CARGO_TARGET_TMPDIR".into(), "/cargo/target/tmp".into());
    compiled.insert("CARGO_PRIMARY_PACKAGE".into(), "1".into());
    let common = format!("--emit=dep-info,link --out-dir {TARGET}/deps");
    vec![
        rustc(
            with("CARGO_BIN_NAME", "my-app"),
            &format!(
                "--crate-name my_app src/main.rs --crate-type bin -C extra-filename=-1111 {common}"
            ),
        ),
        rustc(
            with("CARGO_BIN_NAME", "my-app"),
            &format!("--crate-name my_app src/main.rs --test -C extra-filename=-2222 {common}"),
        ),
        rustc(
            compiled,
            &format!(
                "--crate-name end_to_end tests/end-to-end.rs --test -C extra-filename=-3333 \
                 {common}"
            ),
        ),
        Record {
            argv: vec![format!("{TARGET}/deps/end_to_end-3333")],
            env: app(),
            cwd: "/workspace/app".into(),
        },
    ]
}

#[test]
fn a_test_that_runs_is_given_the_programs_that_it_may_start() {
    let plan = graph::plan(&test_records(), &Packages::new(&[]).unwrap()).unwrap();
    let names: Vec<&str> = plan.units.values().map(|p| p.unit.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "app-0.1.0-bin-my-app",
            "app-0.1.0-run-end_to_end",
            "app-0.1.0-test-bin-my-app",
            "app-0.1.0-test-end_to_end",
        ]
    );
    let run = &plan.units["app-0.1.0-run-end_to_end-3333"];
    let programs = [
        (
            format!("{TARGET}/deps/end_to_end-3333"),
            "app-0.1.0-test-end_to_end-3333".to_owned(),
        ),
        (
            format!("{TARGET}/my-app"),
            "app-0.1.0-bin-my-app-1111".to_owned(),
        ),
    ];
    assert_eq!(run.programs, BTreeMap::from(programs));
    assert_eq!(run.unit.cwd, "/workspace/app");
    let Action::RunTest { scratch, .. } = &run.unit.action else {
        panic!("a test runs");
    };
    assert_eq!(scratch.as_deref(), Some("/cargo/target/tmp"));
}

#[test]
fn a_unit_does_not_tell_whether_it_was_asked_for() {
    let plan = graph::plan(&test_records(), &Packages::new(&[]).unwrap()).unwrap();
    let compiled = &plan.units["app-0.1.0-test-end_to_end-3333"].unit;
    assert!(!compiled.env.contains_key("CARGO_PRIMARY_PACKAGE"));
}

#[test]
fn a_lint_is_given_to_clippy_and_a_document_to_rustdoc() {
    let tool = |name: &str, arguments: &str| {
        let mut record = rustc(package("app", "0.1.0", "/workspace/app"), arguments);
        record.argv[0] = format!("/cargo/stand-ins/{name}");
        record
    };
    let records = [
        tool(
            "clippy-driver",
            &format!(
                "/cargo/stand-ins/rustc --crate-name app src/lib.rs --crate-type lib \
                 --emit=dep-info,metadata -C extra-filename=-1111 --out-dir {TARGET}/deps"
            ),
        ),
        tool(
            "rustdoc",
            "--crate-type lib --crate-name app src/lib.rs -o /cargo/target/doc -C metadata=2222",
        ),
    ];
    let plan = graph::plan(&records, &Packages::new(&[]).unwrap()).unwrap();
    let Action::Compile { program, args, .. } = &plan.units["app-0.1.0-clippy-1111"].unit.action
    else {
        panic!("clippy compiles");
    };
    assert_eq!(
        (program.as_str(), args[0].as_str()),
        ("clippy-driver", "rustc")
    );
    let document = &plan.units["app-0.1.0-doc-2222"].unit;
    assert_eq!(document.product(), crateyard_unit::Product::Documentation);
    assert_eq!(document.out_dir(), Some("/cargo/target/doc"));
}
