//! The units that wait for metadata, and those that wait for code.

use crateyard_plan::{FORMAT, Origin, Package, Plan, Planned, pipelining};
use crateyard_unit::TargetKind::{self, Bin, Lib, ProcMacro};
use crateyard_unit::{Action, Target, Unit};
use std::collections::BTreeMap;

/// Returns a unit of a registry's package, with the libraries that rustc gets, such as
/// `libtokio-1.rlib`.
fn planned(name: &str, kind: TargetKind, level: u8, below: &[(&str, &str)]) -> (String, Planned) {
    let mut args = vec![
        "--emit=dep-info,metadata,link".to_owned(),
        "-C".to_owned(),
        format!("opt-level={level}"),
    ];
    for (key, file) in below {
        args.extend(["--extern".to_owned(), format!("{key}=/target/deps/{file}")]);
    }
    let unit = Unit {
        version: crateyard_unit::FORMAT,
        name: format!("{name}-1.0.0"),
        source_dir: format!("/cargo/registry/{name}-1.0.0"),
        path_in_source: None,
        cwd: "/".into(),
        env: BTreeMap::new(),
        action: Action::Compile {
            program: "rustc".into(),
            args,
            out_dir: "/target/deps".into(),
            target: Target {
                kind,
                name: name.into(),
                test: false,
            },
            build_script: None,
            native: Vec::new(),
            takes_link_libs: true,
            metadata_only: false,
        },
    };
    let planned = Planned {
        package: Package {
            name: name.into(),
            version: "1.0.0".into(),
            origin: Origin::Registry {
                source: "registry+https://registry.example".into(),
            },
        },
        dependencies: below.iter().map(|(key, _)| (*key).to_owned()).collect(),
        programs: BTreeMap::new(),
        reads: crateyard_plan::reads::Reads::default(),
        unit,
    };
    (format!("{name}-1.0.0-{level}"), planned)
}

fn pipelined(units: Vec<(String, Planned)>) -> Plan {
    let mut plan = Plan {
        version: FORMAT,
        places: BTreeMap::new(),
        units: units.into_iter().collect(),
        programs: Vec::new(),
        members: Vec::new(),
    };
    pipelining::pipeline(&mut plan);
    plan
}

/// Returns the units that a unit waits for.
fn below(plan: &Plan, key: &str) -> String {
    plan.units[key].dependencies.join(" ")
}

#[test]
fn libraries_wait_for_metadata_and_what_links_waits_for_all_code_below() {
    let plan = pipelined(vec![
        planned("tokio", Lib, 3, &[]),
        planned("small", Lib, 3, &[("tokio-1.0.0-3", "libtokio.rmeta")]),
        planned("middle", Lib, 3, &[("small-1.0.0-3", "libsmall.rmeta")]),
        planned("app", Bin, 3, &[("middle-1.0.0-3", "libmiddle.rlib")]),
        planned("macro", ProcMacro, 3, &[("tokio-1.0.0-3", "libtokio.rlib")]),
    ]);
    let below = |key: &str| below(&plan, key);
    assert_eq!(plan.units.len(), 6);
    assert_eq!(below("small-1.0.0-3"), "tokio-1.0.0-metadata-3");
    assert_eq!(below("middle-1.0.0-3"), "small-1.0.0-3");
    assert_eq!(below("app-1.0.0-3"), "middle-1.0.0-3 tokio-1.0.0-3");
    assert_eq!(below("macro-1.0.0-3"), "tokio-1.0.0-3");

    let metadata = &plan.units["tokio-1.0.0-metadata-3"];
    let mut whole = plan.units["tokio-1.0.0-3"].clone();
    assert_eq!(metadata.unit.name, "tokio-1.0.0-metadata");
    whole.unit.name.clone_from(&metadata.unit.name);
    if let Action::Compile { metadata_only, .. } = &mut whole.unit.action {
        assert!(!*metadata_only);
        *metadata_only = true;
    }
    assert_eq!(metadata.unit, whole.unit, "all else is the same");
    let library = |key: &str| pipelining::library_of(key, &plan.units[key]);
    let tokio = Some("tokio-1.0.0-3".to_owned());
    assert_eq!(library("tokio-1.0.0-metadata-3"), tokio);
    assert_eq!(library("tokio-1.0.0-3"), None);
}

#[test]
fn a_pipelined_library_waits_for_metadata_itself() {
    let plan = pipelined(vec![
        planned("tokio", Lib, 3, &[]),
        planned("hyper", Lib, 3, &[("tokio-1.0.0-3", "libtokio.rmeta")]),
        planned("app", Bin, 3, &[("hyper-1.0.0-3", "libhyper.rlib")]),
    ]);
    let below = |key: &str| below(&plan, key);
    assert_eq!(below("hyper-1.0.0-3"), "tokio-1.0.0-metadata-3");
    assert_eq!(below("app-1.0.0-3"), "hyper-1.0.0-3 tokio-1.0.0-3");
    // Only the program is compiled against hyper, and the program is linked.
    assert!(!plan.units.contains_key("hyper-1.0.0-metadata-3"));
}

#[test]
fn what_has_little_code_to_wait_for_is_not_pipelined() {
    let mut of_workspace = planned("tokio", Lib, 2, &[]);
    of_workspace.1.package.origin = Origin::Path {
        path: "crates/tokio".into(),
    };
    let plan = pipelined(vec![
        planned("tokio", Lib, 0, &[]),
        of_workspace,
        planned("another", Lib, 3, &[("tokio-1.0.0-0", "libtokio.rmeta")]),
    ]);
    assert_eq!(plan.units.len(), 3);
    let another = &plan.units["another-1.0.0-3"];
    assert_eq!(another.dependencies, ["tokio-1.0.0-0"]);
}
