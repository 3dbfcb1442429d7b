//! `assemble affected`: compares two evaluations to find the images, programs and tests that a
//! change touches.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use crateyard_deploy::affected::{Affected, FORMAT, StorePaths, compare};
use crateyard_flake::Nix;
use crateyard_terminal::{clean, print, print_json, table};
use crateyard_workspace::{files, git};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// The attribute of a workspace's flake that has the store paths (nix/store-paths.nix).
const ATTRIBUTE: &str = "storePaths";

const EXAMPLES: &str = "\
Examples:
  assemble affected --since main
  assemble affected --since origin/main --merge-base --json   in a pull request
  assemble affected --since HEAD --only images                uncommitted changes";

/// Show which images, programs and tests a change touches, without building any
///
/// Evaluates the workspace as it was and as it is now, and lists everything with a new store path.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The commit to compare with: a branch, a tag, a hash
    #[arg(long, value_name = "REF")]
    since: String,

    /// Compare with the commit where the current work forked off REF, as a pull request does
    #[arg(long)]
    merge_base: bool,

    /// Check only these, which is faster; may be repeated
    #[arg(long, value_enum, value_name = "KIND")]
    only: Vec<Kind>,

    /// The workspace: a directory with images.toml and flake.nix
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The kinds of outputs to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Images
    Images,
    /// Programs of images
    Binaries,
    /// Tests, lints, documentation, formatting
    Checks,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Images, Kind::Binaries, Kind::Checks];

    fn attribute(self) -> &'static str {
        match self {
            Kind::Images => "images",
            Kind::Binaries => "binaries",
            Kind::Checks => "checks",
        }
    }
}

/// The command's JSON output.
#[derive(Serialize)]
struct Report {
    since: Since,
    #[serde(flatten)]
    affected: Affected,
}

/// The commit that the workspace is compared with.
#[derive(Serialize)]
struct Since {
    reference: String,
    commit: String,
}

/// Runs the command.
///
/// # Errors
/// When there is no such commit, or an evaluation fails.
pub fn run(args: Args) -> Result<()> {
    files::check(&args.workspace)?;
    git::check(&args.workspace)?;
    let commit = commit(&args)?;
    let kinds = match args.only.as_slice() {
        [] => &Kind::ALL,
        only => only,
    };
    check_inputs(&args.workspace, &commit)
        .with_context(|| format!("cannot evaluate {} ({commit})", args.since))?;
    let before = evaluate(&at_commit(&args.workspace, &commit)?, kinds).with_context(|| {
        format!(
            "cannot evaluate {} ({commit})\n  try: `assemble fetch` in a checkout of it if sources \
             are missing; if the attribute {ATTRIBUTE:?} is missing, its flake.lock pins a \
             Crateyard from before `assemble affected`",
            args.since
        )
    })?;
    let after = evaluate(&Nix::default().flake(&args.workspace)?, kinds)
        .context("cannot evaluate the workspace\n  try: assemble fetch")?;
    let affected = compare(&before, &after);
    if !args.json {
        return print(&describe(&affected));
    }
    print_json(&Report {
        since: Since {
            reference: args.since,
            commit,
        },
        affected,
    })
}

/// Returns the hash of the commit to compare with.
fn commit(args: &Args) -> Result<String> {
    let read = |arguments: &[&str]| -> Result<String> {
        let printed = git::read(&args.workspace, arguments)?;
        Ok(String::from_utf8_lossy(&printed).trim().to_owned())
    };
    let name = format!("{}^{{commit}}", args.since);
    let verify = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &name,
    ];
    let found = read(&verify).with_context(|| {
        format!(
            "{:?} is not a commit of this repository\n  try: git fetch; a CI system that clones \
             part of the history must clone all of it",
            args.since
        )
    })?;
    if !args.merge_base {
        return Ok(found);
    }
    let base = read(&["merge-base", &found, "HEAD"]);
    base.with_context(|| {
        format!(
            "{} and HEAD have no common commit here\n  try: git fetch --unshallow",
            args.since
        )
    })
}

/// Checks the inputs of the workspace's flake at a commit, as [`Nix::flake`] does those of the
/// workspace. The author of the commit may have named a directory of this machine.
fn check_inputs(workspace: &Path, commit: &str) -> Result<()> {
    let below = below_top(workspace)?;
    let read = |name: &str| {
        let object = format!("{commit}:{below}{name}");
        git::read(workspace, &["cat-file", "blob", &object])
    };
    let files = tempfile::tempdir().context("cannot make a temporary directory")?;
    fs::write(files.path().join("flake.nix"), read("flake.nix")?)?;
    // If there is no lock, no input is pinned.
    if let Ok(lock) = read("flake.lock") {
        fs::write(files.path().join("flake.lock"), lock)?;
    }
    Nix::default().check_inputs(files.path(), workspace)
}

/// Returns the path of a workspace in its repository: empty, or `DIRECTORY/`.
fn below_top(workspace: &Path) -> Result<String> {
    let below = git::read(workspace, &["rev-parse", "--show-prefix"])?;
    let below = String::from_utf8(below).context("the workspace's path is not valid UTF-8")?;
    Ok(below.trim_end_matches('\n').to_owned())
}

/// Returns the reference of the workspace's flake at a commit. Nix reads the flake from the
/// repository, so no file is checked out.
fn at_commit(workspace: &Path, commit: &str) -> Result<String> {
    let top = git::top(workspace)?;
    let below = below_top(workspace)?;
    let below = below.trim_end_matches('/');
    let top = top
        .to_str()
        .context("the repository's path is not valid UTF-8")?;
    let mut reference = format!("git+file://{}?rev={commit}", percent(top));
    if !below.is_empty() {
        reference += &format!("&dir={}", percent(below));
    }
    let is_shallow = git::read(workspace, &["rev-parse", "--is-shallow-repository"])?;
    if is_shallow.trim_ascii() == b"true" {
        reference += "&shallow=1";
    }
    Ok(reference)
}

/// The characters that a path in a URL may not hold as they are (RFC 3986, section 2.1).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Escapes a path for a URL.
fn percent(path: &str) -> String {
    utf8_percent_encode(path, RESERVED).to_string()
}

fn evaluate(flake: &str, kinds: &[Kind]) -> Result<StorePaths> {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.attribute()).collect();
    // Revisions of Crateyard from before the first version of the format name no version.
    let chosen = format!(
        "paths: {{ version = paths.version or {FORMAT}; inherit (paths) {}; }}",
        names.join(" ")
    );
    let mut args: Vec<OsString> = vec!["eval".into(), "--json".into()];
    args.push(format!("{flake}#{ATTRIBUTE}").into());
    args.extend(["--apply".into(), chosen.into()]);
    let printed = Nix::default().read(args)?;
    let paths: StorePaths =
        serde_json::from_str(&printed).context("nix eval printed no store paths")?;
    ensure!(
        paths.version == FORMAT,
        "the flake lists its store paths in format {}, but this version of assemble reads {FORMAT}",
        paths.version
    );
    let is_empty = paths == StorePaths::default();
    ensure!(!is_empty, "the flake has neither images nor checks");
    Ok(paths)
}

fn describe(affected: &Affected) -> String {
    if affected.is_empty() {
        return "nothing is touched\n".to_owned();
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |sign: &str, kind: &str, name: &str| {
        rows.push(vec![
            sign.to_owned(),
            kind.to_owned(),
            clean(name).into_owned(),
        ]);
    };
    for image in &affected.images {
        add("~", "image", image);
    }
    for binary in &affected.binaries {
        let images = binary.images.join(", ");
        add(
            "~",
            "binary",
            &format!("{}/{} in {images}", binary.package, binary.name),
        );
    }
    for check in &affected.checks {
        add("~", "check", check);
    }
    let removed = &affected.removed;
    for (kind, names) in [
        ("image", &removed.images),
        ("binary", &removed.binaries),
        ("check", &removed.checks),
    ] {
        names.iter().for_each(|name| add("-", kind, name));
    }
    table(&rows, "", &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_odd_letters_stays_one_in_a_reference() {
        assert_eq!(percent("/a b/c?d#e%ü"), "/a%20b/c%3Fd%23e%25%C3%BC");
    }
}
