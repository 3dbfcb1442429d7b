//! Compares units with Cargo's: their number, packages and features.

use anyhow::{Context, Result};
use crateyard_plan::{Plan, Planned, pipelining};
use crateyard_unit::{Action, TargetKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The units of both sides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// The number of units in the plan.
    pub units: usize,
    /// The number of times that Cargo ran, or would run, rustc or a build script.
    pub cargos: usize,
    /// The source of that number.
    pub known_from: Known,
    /// The differences, one a line: `-` for units that only Cargo has, `+` for units that only the
    /// plan has.
    pub differing: Vec<String>,
}

/// The source of Cargo's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// The messages of Cargo's build.
    Build,
    /// The graph of `cargo build --unit-graph`.
    UnitGraph,
}

/// Compares a plan with a file of Cargo's messages or of its unit graph.
pub fn compare(plan: &Plan, file: &Path, known_from: Known) -> Result<Compared> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let units = pipelining::cargos(plan);
    let ours: Vec<String> = units.map(|(_, planned)| describe(planned)).collect();
    let theirs = match known_from {
        Known::Build => executed(&text)?,
        Known::UnitGraph => graph(&text)?,
    };
    let mut counts: BTreeMap<&str, i32> = BTreeMap::new();
    for unit in &ours {
        *counts.entry(unit).or_default() += 1;
    }
    for unit in &theirs {
        *counts.entry(unit).or_default() -= 1;
    }
    let differing = counts.iter().filter(|(_, count)| **count != 0);
    Ok(Compared {
        units: ours.len(),
        cargos: theirs.len(),
        known_from,
        differing: differing
            .map(|(unit, count)| format!("{}{unit}", if *count > 0 { '+' } else { '-' }))
            .collect(),
    })
}

/// Describes a unit of the plan as in Cargo's messages.
fn describe(planned: &Planned) -> String {
    let package = format!("{} {}", planned.package.name, planned.package.version);
    match &planned.unit.action {
        Action::Compile { args, target, .. } => {
            let values = args.windows(2).filter(|pair| pair[0] == "--cfg");
            let features = values.filter_map(|pair| {
                let feature = pair[1].strip_prefix("feature=\"")?;
                feature.strip_suffix('"')
            });
            let kind = match target.kind {
                TargetKind::Bin => "bin",
                TargetKind::BuildScript => "build script",
                TargetKind::ProcMacro => "macro",
                _ => "library",
            };
            line(&package, kind, features.collect())
        }
        Action::RunBuildScript { .. } => format!("{package} run"),
        _ => format!("{package} {}", planned.unit.name),
    }
}

fn line(package: &str, kind: &str, mut features: Vec<&str>) -> String {
    features.sort_unstable();
    format!("{package} {kind} [{}]", features.join(" "))
}

/// A message of `cargo build --message-format json`.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        target: Target,
        features: Vec<String>,
        fresh: bool,
    },
    BuildScriptExecuted {
        package_id: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Target {
    fn describe(&self, package_id: &str, features: &[String]) -> String {
        let kind = match self.kind.first().map(String::as_str) {
            Some("bin") => "bin",
            Some("custom-build") => "build script",
            Some("proc-macro") => "macro",
            _ => "library",
        };
        let features = features.iter().map(String::as_str).collect();
        line(&package(package_id), kind, features)
    }
}

/// The output of `cargo build --unit-graph`.
/// <https://doc.rust-lang.org/cargo/reference/unstable.html#unit-graph>
#[derive(Deserialize)]
struct Graph {
    units: Vec<GraphUnit>,
}

#[derive(Deserialize)]
struct GraphUnit {
    pkg_id: String,
    target: Target,
    mode: String,
    features: Vec<String>,
}

fn graph(text: &str) -> Result<Vec<String>> {
    let graph: Graph =
        serde_json::from_str(text).context("Cargo's unit graph is not understood")?;
    let units = graph.units.iter().map(|unit| match unit.mode.as_str() {
        "run-custom-build" => format!("{} run", package(&unit.pkg_id)),
        _ => unit.target.describe(&unit.pkg_id, &unit.features),
    });
    Ok(units.collect())
}

fn executed(text: &str) -> Result<Vec<String>> {
    let mut units = Vec::new();
    for json in text.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(json)
            .with_context(|| format!("Cargo's message is not understood: {json}"))?;
        match message {
            Message::CompilerArtifact {
                package_id,
                target,
                features,
                fresh: false,
            } => {
                units.push(target.describe(&package_id, &features));
            }
            Message::BuildScriptExecuted { package_id } => {
                units.push(format!("{} run", package(&package_id)));
            }
            _ => {}
        }
    }
    Ok(units)
}

/// Returns `NAME VERSION` from `SOURCE#NAME@VERSION`, from `path+file:///DIRECTORY/NAME#VERSION`,
/// or from `NAME VERSION (SOURCE)` in the unit graph of Cargo 1.85.
/// <https://doc.rust-lang.org/cargo/reference/pkgid-spec.html>
fn package(id: &str) -> String {
    if let Some((package, _)) = id.split_once(" (") {
        return package.to_owned();
    }
    let (source, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, version)) => format!("{name} {version}"),
        None => format!("{} {fragment}", source.rsplit('/').next().unwrap_or("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_packages() {
        let registry = "registry+https://github.com/rust-lang/crates.io-index#libc@0.2.162";
        assert_eq!(package(registry), "libc 0.2.162");
        assert_eq!(package("path+file:///workspace#just@1.40.0"), "just 1.40.0");
        assert_eq!(package("path+file:///workspace/just#1.40.0"), "just 1.40.0");
    }

    #[test]
    fn counts_what_cargo_ran() {
        let text = concat!(
            r#"{"reason":"compiler-artifact","package_id":"r#a@1.0.0","#,
            r#""target":{"kind":["lib"]},"features":["std","b"],"fresh":false}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"r#a@1.0.0","#,
            r#""target":{"kind":["lib"]},"features":[],"fresh":true}"#,
            "\n",
            r#"{"reason":"build-script-executed","package_id":"r#a@1.0.0","out_dir":"/o"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            executed(text).unwrap(),
            ["a 1.0.0 library [b std]", "a 1.0.0 run"]
        );
    }

    #[test]
    fn reads_a_unit_graph() {
        let text = r#"{"version":1,"units":[
            {"pkg_id":"a 1.0.0 (registry+https://r/i)","target":{"kind":["proc-macro"]},
             "mode":"build","features":["b","a"]},
            {"pkg_id":"r#a@1.0.0","target":{"kind":["custom-build"]},
             "mode":"run-custom-build","features":[]}
        ],"roots":[0]}"#;
        assert_eq!(graph(text).unwrap(), ["a 1.0.0 macro [a b]", "a 1.0.0 run"]);
    }
}
