//! Splits `cargo doc --workspace` where Cargo would refuse it: it documents no two programs of one
//! name in one call, nor two libraries, because their pages would have the same place.
//!
//! The units of the documentation have a place each, so all packages can be documented, in several
//! calls. Most workspaces need only the call that was asked for.

use crate::targets::is_program;
use serde_json::Value;
use std::collections::BTreeSet;

/// The names of crates that Cargo documents, and whether each is a program.
type Crates = BTreeSet<(bool, String)>;

/// Returns the calls that document what one call was asked for.
pub fn calls(args: &[String], workspace: &Value) -> Vec<Vec<String>> {
    let is_documentation = args.first().is_some_and(|first| first == "doc");
    let position = args.iter().position(|arg| arg == "--workspace");
    let (true, Some(position)) = (is_documentation, position) else {
        return vec![args.to_vec()];
    };
    let groups = groups(workspace);
    if groups.len() < 2 {
        return vec![args.to_vec()];
    }
    let call = |group: &Vec<&Value>| {
        let mut call = with_features_of(&args[..position], group);
        let names = group.iter().filter_map(|package| package["name"].as_str());
        call.extend(names.flat_map(|name| ["--package".to_owned(), name.to_owned()]));
        call.extend(with_features_of(&args[position + 1..], group));
        call
    };
    groups.iter().map(call).collect()
}

/// Returns the packages in groups that Cargo can document at once: as few as a pass over the
/// packages finds.
fn groups(workspace: &Value) -> Vec<Vec<&Value>> {
    let mut groups: Vec<(Crates, Vec<&Value>)> = Vec::new();
    for package in list(&workspace["packages"]) {
        let documented = documented(package);
        let free = groups
            .iter_mut()
            .find(|(taken, _)| taken.is_disjoint(&documented));
        match free {
            Some((taken, packages)) => {
                taken.extend(documented);
                packages.push(package);
            }
            None => groups.push((documented, vec![package])),
        }
    }
    groups.into_iter().map(|(_, packages)| packages).collect()
}

/// Returns the crates that Cargo documents for a package. It leaves out a program with the name of
/// its package's library.
/// <https://doc.rust-lang.org/cargo/commands/cargo-doc.html>
fn documented(package: &Value) -> Crates {
    let targets = list(&package["targets"]).filter(|target| target["doc"] != false);
    let named = targets.filter_map(|target| {
        let name = target["name"].as_str()?.replace('-', "_");
        Some((is_program(target)?, name))
    });
    let mut all: Crates = named.collect();
    let libraries: Vec<String> = all
        .iter()
        .filter(|(is_program, _)| !is_program)
        .map(|(_, name)| name.clone())
        .collect();
    for name in libraries {
        all.remove(&(true, name));
    }
    all
}

/// Returns the arguments without the features that no package of a group has: Cargo refuses them.
fn with_features_of(args: &[String], group: &[&Value]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(args.len());
    for arg in args {
        if kept.last().is_none_or(|last| last != "--features") {
            kept.push(arg.clone());
            continue;
        }
        let known = |feature: &&str| group.iter().any(|package| has(package, feature));
        let features: Vec<&str> = arg.split(',').filter(known).collect();
        if features.is_empty() {
            kept.pop();
        } else {
            kept.push(features.join(","));
        }
    }
    kept
}

/// Whether a package has a feature, in the notation of `--features`: its own, or one of a
/// dependency (`NAME/FEATURE`).
fn has(package: &Value, feature: &str) -> bool {
    let depends = |name: &str, only_optional: bool| {
        list(&package["dependencies"]).any(|dependency| {
            let renamed = dependency["rename"].as_str();
            renamed.or(dependency["name"].as_str()) == Some(name)
                && (!only_optional || dependency["optional"] == true)
        })
    };
    match feature.split_once('/') {
        Some((of, own)) if package["name"] == of => has(package, own),
        Some((of, _)) => depends(of.trim_end_matches('?'), false),
        None => !package["features"][feature].is_null() || depends(feature, true),
    }
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, targets: &[(&str, &str)]) -> Value {
        let targets = targets
            .iter()
            .map(|(kind, name)| json!({"kind": [kind], "name": name, "doc": true}));
        json!({"name": name, "targets": targets.collect::<Vec<_>>(), "features": {"tls": []},
            "dependencies": [{"name": "serde", "optional": true}]})
    }

    fn split(args: &str, packages: &[Value]) -> Vec<String> {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let calls = calls(&args, &json!({ "packages": packages }));
        calls.iter().map(|call| call.join(" ")).collect()
    }

    #[test]
    fn programs_of_one_name_are_documented_in_different_calls() {
        let packages = [
            package("api", &[("bin", "server"), ("lib", "api")]),
            package("web", &[("bin", "server")]),
            package("common", &[("lib", "common")]),
        ];
        assert_eq!(
            split("doc --profile release --workspace --no-deps", &packages),
            [
                "doc --profile release --package api --package common --no-deps",
                "doc --profile release --package web --no-deps"
            ]
        );
    }

    #[test]
    fn libraries_of_one_name_are_documented_in_different_calls() {
        let packages = [
            package("a", &[("lib", "my-api")]),
            package("b", &[("proc-macro", "my_api")]),
        ];
        assert_eq!(split("doc --workspace", &packages).len(), 2);
    }

    /// Cargo takes these in one call, and workspaces keep the plans that they have.
    #[test]
    fn other_workspaces_are_documented_in_one_call() {
        let mut hidden = package("hidden", &[("bin", "server")]);
        hidden["targets"][0]["doc"] = json!(false);
        let packages = [
            package("server", &[("lib", "server"), ("bin", "server")]),
            package(
                "api",
                &[("bin", "server"), ("test", "it"), ("custom-build", "b")],
            ),
            package(
                "web",
                &[("bin", "web"), ("test", "it"), ("custom-build", "b")],
            ),
            hidden,
        ];
        let args = "doc --workspace --no-deps";
        assert_eq!(split(args, &packages), [args]);
    }

    #[test]
    fn other_calls_are_left_alone() {
        let same = [package("a", &[("bin", "x")]), package("b", &[("bin", "x")])];
        for args in ["test --workspace", "build --package a --bin x"] {
            assert_eq!(split(args, &same), [args]);
        }
    }

    #[test]
    fn each_call_has_the_features_of_its_packages() {
        let same = [package("a", &[("bin", "x")]), package("b", &[("bin", "x")])];
        assert_eq!(
            split("doc --features a/tls,serde --workspace", &same),
            [
                "doc --features a/tls,serde --package a",
                "doc --features serde --package b"
            ]
        );
        assert_eq!(
            split("doc --features a/tls --workspace", &same)[1],
            "doc --package b"
        );
    }
}
