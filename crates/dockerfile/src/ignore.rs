//! Writes the ignore file, so that the engine only gets the files of the workspace that the
//! Dockerfile copies.
//!
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use std::collections::BTreeSet;
use std::fmt::Write;

use super::compile::member_sources;
use super::images::copied;
use super::project::Project;
use crateyard_description::normal::Description;

/// Files in a member's directory that are not needed to compile its programs.
const NOT_COMPILED: &[&str] = &[
    "tests", "benches", "examples", "target", "*.md", "LICENSE*", "LICENCE*",
];

/// Returns the text of the ignore file. The last matching pattern decides.
pub(super) fn file(description: &Description, project: &Project) -> String {
    let mut out = String::from("*\n!Cargo.toml\n!Cargo.lock\n");
    let mut allow = |path: &str| {
        let _ = writeln!(out, "!{}", pattern(path));
    };
    project.configuration.iter().for_each(|path| allow(path));
    project.patches.iter().for_each(|path| allow(path));
    for member in project
        .members
        .values()
        .filter(|member| !member.directory.is_empty())
    {
        allow(&format!("{}/Cargo.toml", member.directory));
    }
    let needed: BTreeSet<String> = description
        .build
        .binaries()
        .into_iter()
        .flat_map(|binary| project.closure(&binary.package))
        .collect();
    let members: Vec<_> = needed
        .iter()
        .filter_map(|name| project.members.get(name))
        .collect();
    members
        .iter()
        .flat_map(|member| member_sources(member))
        .for_each(|path| allow(&path));
    for member in members.iter().filter(|member| !member.directory.is_empty()) {
        for not_compiled in NOT_COMPILED {
            let _ = writeln!(out, "{}/{not_compiled}", pattern(&member.directory));
        }
    }
    // These come last, so that a declared README is sent although READMEs are ignored.
    let declared = description
        .crates
        .iter()
        .filter(|(name, _)| needed.contains(*name));
    let declared: BTreeSet<&str> = declared
        .flat_map(|(_, each)| &each.files)
        .map(String::as_str)
        .collect();
    for path in declared.into_iter().chain(copied(description)) {
        let _ = writeln!(out, "!{}", pattern(path));
    }
    out
}

/// Returns a path as a pattern that matches nothing else.
fn pattern(path: &str) -> String {
    let mut pattern = String::new();
    for c in path.chars() {
        if "*?[\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
