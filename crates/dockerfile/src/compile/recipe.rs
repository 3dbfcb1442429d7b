//! Writes the stage whose files decide how dependencies are compiled.

use std::fmt::Write;

use crate::names::Names;
use crate::project::{Member, Project};
use crate::text::{copy_words, heredoc, shell_word};

const MANIFEST_AWK: &str = include_str!("../manifest.awk");
const LOCK_AWK: &str = include_str!("../lock.awk");

/// Returns the stage with empty targets, and with the manifests without the parts that can't change
/// a dependency.
pub(super) fn stage(project: &Project, names: &Names) -> String {
    let mut out = format!(
        "FROM {} AS {}\nWORKDIR /manifests\nCOPY Cargo.toml Cargo.lock ./\n",
        names.own("toolchain"),
        names.own("recipe")
    );
    for member in project
        .members
        .values()
        .filter(|member| !member.directory.is_empty())
    {
        let manifest = format!("{}/Cargo.toml", member.directory);
        let words = copy_words(&[&manifest], &format!("{}/", member.directory));
        let _ = writeln!(out, "COPY {words}");
    }
    let (manifest, end) = heredoc(MANIFEST_AWK);
    let _ = write!(out, "COPY <<'{end}' /manifest.awk\n{manifest}");
    let (lock, end) = heredoc(LOCK_AWK);
    let _ = write!(out, "COPY <<'{end}' /lock.awk\n{lock}");
    let (script, end) = heredoc(&script(project));
    let _ = write!(out, "RUN <<'{end}'\n{script}");
    if let Some(configuration) = &project.configuration {
        let words = copy_words(&[configuration], &format!("/recipe/{configuration}"));
        let _ = writeln!(out, "COPY {words}");
    }
    for patch in &project.patches {
        let words = copy_words(&[patch], &format!("/recipe/{patch}"));
        let _ = writeln!(out, "COPY {words}");
    }
    out + "\n"
}

fn script(project: &Project) -> String {
    let names: Vec<&str> = project.members.keys().map(String::as_str).collect();
    let of = |paths: fn(&Member) -> &Vec<String>| {
        let paths: Vec<String> = project
            .members
            .values()
            .flat_map(paths)
            .map(|path| shell_word(path))
            .collect();
        paths.join(" \\\n  ")
    };
    format!(
        r#"set -eu
find . -name Cargo.toml | while IFS= read -r manifest; do
  mkdir -p "/recipe/${{manifest%/*}}"
  awk -f /manifest.awk "$manifest" > "/recipe/$manifest"
done
awk -v members="{}" -f /lock.awk Cargo.lock > /recipe/Cargo.lock
empty() {{
  content=$1; shift
  for file in "$@"; do
    file=/recipe/$file
    mkdir -p "${{file%/*}}"
    printf '%s' "$content" > "$file"
  done
}}
empty '' {}
empty 'fn main() {{}}' {}
"#,
        names.join(" "),
        of(|member| &member.libraries),
        of(|member| &member.programs),
    )
}
