//! Checks how the source tree is laid out.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the Rust files below a directory with their texts, sorted by path.
fn rust_files(below: &str) -> Vec<(PathBuf, String)> {
    let mut waiting = vec![root().join(below)];
    let mut found = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{below} has no Rust file");
    found.sort();
    found
}

const SOURCE: &str = "crates/assemble/src";

/// Returns the lines of a file of the command line that import from a command, unless the file is
/// a part of that command. `path` begins below `src`.
fn imports_of_commands(path: &Path, text: &str) -> Vec<String> {
    let depth = match path.strip_prefix("commands") {
        Ok(inside) => inside.components().count(),
        // Outside of the commands, only the full path leads to one.
        Err(_) => usize::MAX,
    };
    // Tests are in a module of their own, so `super` there is the file itself.
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let climbs = |line: &str| {
        let start = line.find("super::")?;
        let levels = line[start..]
            .split("::")
            .take_while(|part| *part == "super");
        Some(levels.count())
    };
    let imports = |line: &&str| {
        !line.trim_start().starts_with("//")
            && (line.contains("commands::") || climbs(line).is_some_and(|levels| levels >= depth))
    };
    let found = code.lines().filter(imports);
    found
        .map(|line| format!("{}: {line}", path.display()))
        .collect()
}

#[test]
fn no_command_imports_from_another() {
    let source = root().join(SOURCE);
    let mut found = Vec::new();
    for (path, text) in rust_files(SOURCE) {
        let path = path.strip_prefix(&source).unwrap();
        // It has the list of commands.
        if path != Path::new("main.rs") {
            found.extend(imports_of_commands(path, &text));
        }
    }
    assert!(
        found.is_empty(),
        "move what commands share into a module beside `commands`, or into a library:\n{}",
        found.join("\n")
    );
}

#[test]
fn an_import_from_another_command_is_seen() {
    for (path, line, is_seen) in [
        (
            "commands/load.rs",
            "use crate::commands::save::names;",
            true,
        ),
        ("commands/load.rs", "use super::save::names;", true),
        ("commands/load.rs", "    super::save::names()", true),
        ("commands/load.rs", "// see super::save", false),
        ("commands/load.rs", "use crate::remote::Remote;", false),
        (
            "commands/cache/push.rs",
            "use super::{WorkArgs, parse_name};",
            false,
        ),
        (
            "commands/cache/push.rs",
            "use super::super::pull::Args;",
            true,
        ),
        ("commands/cache/push/key.rs", "use super::Args;", false),
        (
            "rollout/reasons.rs",
            "use super::settings::ShipArgs;",
            false,
        ),
        (
            "rollout/reasons.rs",
            "use crate::commands::explain::summary;",
            true,
        ),
    ] {
        let found = imports_of_commands(Path::new(path), line);
        assert_eq!(!found.is_empty(), is_seen, "{path}: {line}");
    }
}

/// Help texts and examples are printed as they stand in the source.
#[test]
fn lines_of_the_command_line_have_at_most_100_columns() {
    let mut found = Vec::new();
    for (path, text) in rust_files(SOURCE) {
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > 100 {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
