//! Explains what every unit of a plan is, and why it is there.

use crateyard_drive::kind;
use crateyard_plan::{Origin, Plan, Planned, Program};
use crateyard_unit::{Action, TargetKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A unit, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The unit's key in the plan.
    pub key: String,
    /// The name of its derivation.
    pub name: String,
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// Whether the package is in the workspace.
    pub is_local: bool,
    /// The kind of target that it compiles, or `build-script-run` if it runs a build script.
    pub kind: String,
    /// `host`, or the target by rustc's name.
    pub platform: String,
    /// The package's features that are on.
    pub features: Vec<String>,
    /// Cargo's profile, as rustc's code generation options.
    pub profile: Vec<String>,
    /// Keys of the units that it uses directly.
    pub dependencies: Vec<String>,
    /// Keys of the units that use it directly.
    pub dependents: Vec<String>,
    /// Names of the programs that need it.
    pub programs: Vec<String>,
    /// The reason why it is built: the names from its nearest dependent up to a program.
    pub because: Vec<String>,
    /// Its duration on this machine in seconds, if known.
    pub seconds: Option<f64>,
}

/// Explains all units, sorted by key. `seconds` returns how long a derivation took.
pub fn explain(plan: &Plan, seconds: impl Fn(&str) -> Option<f64>) -> Vec<Explained> {
    let dependents = dependents(plan);
    let reach = programs_by_unit(plan);
    let units = plan.units.iter();
    units
        .map(|(key, planned)| {
            let empty = BTreeSet::new();
            let users = dependents.get(key.as_str()).unwrap_or(&empty);
            let programs = reach.get(key.as_str()).unwrap_or(&empty);
            Explained {
                key: key.clone(),
                name: planned.unit.name.clone(),
                package: planned.package.name.clone(),
                version: planned.package.version.clone(),
                is_local: matches!(planned.package.origin, Origin::Path { .. }),
                kind: kind::of_action(&planned.unit.action).to_owned(),
                platform: platform(planned),
                features: features(planned),
                profile: profile(planned),
                dependencies: planned.dependencies.clone(),
                dependents: users.iter().map(|&user| user.to_owned()).collect(),
                programs: programs.iter().map(|&name| name.to_owned()).collect(),
                because: because(plan, &dependents, key),
                seconds: seconds(&planned.unit.name),
            }
        })
        .collect()
}

type Keys<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn dependents(plan: &Plan) -> Keys<'_> {
    let mut users: Keys = BTreeMap::new();
    for (key, planned) in &plan.units {
        for dependency in &planned.dependencies {
            users.entry(dependency).or_default().insert(key);
        }
    }
    users
}

/// Returns the programs of a plan. A crate that is also a C library is not a program if others link
/// it.
fn programs(plan: &Plan) -> impl Iterator<Item = &Program> {
    let units = plan.units.values();
    let linked: BTreeSet<&String> = units.flat_map(|planned| &planned.dependencies).collect();
    let programs = plan.programs.iter();
    programs.filter(move |it| it.kind == TargetKind::Bin || !linked.contains(&it.unit))
}

/// Maps each unit to the names of the programs above it.
fn programs_by_unit(plan: &Plan) -> Keys<'_> {
    let mut reach: Keys = BTreeMap::new();
    for program in programs(plan) {
        let mut pending = vec![program.unit.as_str()];
        while let Some(key) = pending.pop() {
            if !reach.entry(key).or_default().insert(&program.name) {
                continue;
            }
            if let Some(planned) = plan.units.get(key) {
                pending.extend(planned.dependencies.iter().map(String::as_str));
            }
        }
    }
    reach
}

/// Returns the names on the shortest path up to a program.
fn because(plan: &Plan, dependents: &Keys, key: &str) -> Vec<String> {
    let wanted: BTreeSet<&str> = programs(plan).map(|it| it.unit.as_str()).collect();
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut pending = VecDeque::from([key]);
    while let Some(current) = pending.pop_front() {
        if wanted.contains(current) {
            return way(plan, &before, key, current);
        }
        for &user in dependents.get(current).into_iter().flatten() {
            if user != key && !before.contains_key(user) {
                before.insert(user, current);
                pending.push_back(user);
            }
        }
    }
    Vec::new()
}

fn way(plan: &Plan, before: &BTreeMap<&str, &str>, from: &str, to: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut current = to;
    while current != from {
        names.push(plan.units[current].unit.name.clone());
        current = before[current];
    }
    names.reverse();
    names
}

fn arguments(planned: &Planned) -> &[String] {
    match &planned.unit.action {
        Action::Compile { args, .. } => args,
        Action::RunBuildScript { .. } | Action::RunTest { .. } => &[],
    }
}

fn platform(planned: &Planned) -> String {
    let target = values(arguments(planned), "--target").next();
    target.unwrap_or("host").to_owned()
}

/// Returns the values of an option that may occur several times.
fn values<'a>(arguments: &'a [String], option: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = arguments.windows(2).filter(move |pair| pair[0] == option);
    pairs.map(|pair| pair[1].as_str())
}

fn features(planned: &Planned) -> Vec<String> {
    let Action::RunBuildScript { .. } = planned.unit.action else {
        let cfgs = values(arguments(planned), "--cfg");
        return cfgs
            .filter_map(|cfg| cfg.strip_prefix("feature=\"")?.strip_suffix('"'))
            .map(str::to_owned)
            .collect();
    };
    // A build script gets its features as variables in upper case.
    let variables = planned.unit.env.keys();
    variables
        .filter_map(|name| name.strip_prefix("CARGO_FEATURE_"))
        .map(|name| name.to_lowercase().replace('_', "-"))
        .collect()
}

/// Returns the code generation options that a profile sets. Options such as `metadata` only
/// distinguish units.
fn profile(planned: &Planned) -> Vec<String> {
    const OF_A_PROFILE: [&str; 8] = [
        "opt-level",
        "codegen-units",
        "debuginfo",
        "debug-assertions",
        "lto",
        "overflow-checks",
        "panic",
        "strip",
    ];
    let options = values(arguments(planned), "-C");
    options
        .filter(|option| OF_A_PROFILE.contains(&option.split('=').next().unwrap_or_default()))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crateyard_plan::Package;
    use crateyard_unit::{Target, Unit};

    fn planned(name: &str, kind: TargetKind, args: &[&str], dependencies: &[&str]) -> Planned {
        let text = |list: &[&str]| list.iter().map(|&t| t.to_owned()).collect();
        Planned {
            unit: Unit {
                version: 1,
                name: format!("{name}-1.0.0"),
                source_dir: String::new(),
                path_in_source: None,
                cwd: String::new(),
                env: BTreeMap::new(),
                action: Action::Compile {
                    program: "rustc".into(),
                    args: text(args),
                    out_dir: String::new(),
                    target: Target {
                        kind,
                        name: name.into(),
                        test: false,
                    },
                    build_script: None,
                    native: Vec::new(),
                    takes_link_libs: false,
                    metadata_only: false,
                },
            },
            package: Package {
                name: name.into(),
                version: "1.0.0".into(),
                origin: Origin::Registry {
                    source: "registry".into(),
                },
            },
            dependencies: text(dependencies),
            programs: BTreeMap::new(),
            reads: crateyard_plan::reads::Reads::default(),
        }
    }

    /// Makes a plan of two programs that share a library and a macro.
    pub(crate) fn plan() -> Plan {
        let target = ["--target", "x86_64-unknown-linux-gnu"];
        let library = [
            &target[..],
            &["--cfg", "feature=\"std\"", "-C", "opt-level=3"],
        ]
        .concat();
        let units = [
            ("macro", planned("macro", TargetKind::ProcMacro, &[], &[])),
            ("lib", planned("lib", TargetKind::Lib, &library, &["macro"])),
            ("a", planned("a", TargetKind::Bin, &target, &["lib"])),
            ("b", planned("b", TargetKind::Bin, &target, &["lib"])),
        ];
        let program = |name: &str| Program {
            package: name.into(),
            kind: TargetKind::Bin,
            name: name.into(),
            unit: name.into(),
        };
        Plan {
            version: 1,
            units: units.map(|(key, unit)| (key.to_owned(), unit)).into(),
            programs: vec![program("a"), program("b")],
            places: BTreeMap::new(),
            members: Vec::new(),
        }
    }

    #[test]
    fn a_c_library_that_is_linked_is_no_program() {
        let mut plan = plan();
        for name in ["lib", "alone"] {
            let library = planned(name, TargetKind::Cdylib, &[], &[]);
            plan.units.entry(name.to_owned()).or_insert(library);
            plan.programs.push(Program {
                package: name.into(),
                kind: TargetKind::Cdylib,
                name: name.into(),
                unit: name.into(),
            });
        }
        let all = explain(&plan, |_| None);
        let programs: BTreeSet<&String> = all.iter().flat_map(|unit| &unit.programs).collect();
        assert_eq!(
            programs.into_iter().collect::<Vec<_>>(),
            ["a", "alone", "b"]
        );
        let library = all.iter().find(|unit| unit.key == "lib").unwrap();
        assert_eq!(library.because, ["a-1.0.0"]);
    }

    #[test]
    fn every_unit_says_what_it_is_and_why() {
        let all = explain(&plan(), |name| (name == "lib-1.0.0").then_some(2.5));
        let find = |key: &str| all.iter().find(|unit| unit.key == key).unwrap();
        let library = find("lib");
        assert_eq!(library.platform, "x86_64-unknown-linux-gnu");
        assert_eq!(library.features, ["std"]);
        assert_eq!(library.profile, ["opt-level=3"]);
        assert_eq!(library.programs, ["a", "b"]);
        assert_eq!(library.dependents, ["a", "b"]);
        assert_eq!(library.because, ["a-1.0.0"]);
        assert_eq!(library.seconds, Some(2.5));
        assert_eq!(find("macro").platform, "host");
        assert_eq!(find("macro").because, ["lib-1.0.0", "a-1.0.0"]);
        assert!(find("a").because.is_empty());
    }
}
