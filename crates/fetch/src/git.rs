//! Fetches the git repositories that `Cargo.lock` pins. Nix calls git, which uses its own
//! configuration and credentials.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use crateyard_flake as flake;
use crateyard_nix::{environment, said};
use crateyard_plan::sources::decode;
use serde_json::json;

use crate::Missing;
use crate::crates::Git;

/// Fetches each commit once, and returns the failures with their reasons.
pub fn fetch(packages: &[Git], store: Option<&str>) -> Vec<Missing> {
    let mut fetched: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut missing = Vec::new();
    for each in packages {
        let reason = fetched.entry(&each.source).or_insert_with(|| {
            let result = fetch_one(&each.source, store);
            result.err().map(|error| format!("{error:#}"))
        });
        if let Some(reason) = reason {
            missing.push(Missing {
                file: each.package.clone(),
                reason: reason.clone(),
            });
        }
    }
    missing
}

/// Has Nix fetch the commit of a source in `Cargo.lock`, with the same arguments that
/// `nix/cargo/git.nix` uses later.
///
/// # Errors
/// When the source is malformed, or git can't fetch it.
fn fetch_one(source: &str, store: Option<&str>) -> Result<()> {
    let arguments = flake::string(&arguments(source)?.to_string());
    let expression = format!("(builtins.fetchGit (builtins.fromJSON {arguments})).outPath");
    evaluate(&["--impure", "--expr", &expression], store).map(|_| ())
}

/// Runs `nix eval --raw`, and returns its output.
///
/// # Errors
/// When Nix is not installed or the evaluation fails.
pub(crate) fn evaluate(arguments: &[impl AsRef<OsStr>], store: Option<&str>) -> Result<String> {
    let mut command = environment::nix("nix");
    // Nix 2.8 can't read a string that names several derivations from its evaluation cache.
    command.args(["eval", "--raw", "--option", "eval-cache", "false"]);
    command.args(arguments);
    if let Some(store) = store {
        command.args(["--store", store]);
    }
    let own = std::env::var("NIX_CONFIG").unwrap_or_default();
    let (name, value) = flake::AS_CARGO_CHECKS_OUT;
    let output = command
        .env(name, value)
        .env(
            "NIX_CONFIG",
            format!("extra-experimental-features = nix-command flakes\n{own}"),
        )
        .stdin(Stdio::null())
        .output()
        .context("nix cannot be started; install Nix first: apt-get install nix-bin")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        flake::expect_locked(&said, "")?;
        match said::cause(&said) {
            cause if cause.is_empty() => bail!("nix eval failed: {}", output.status),
            cause => bail!("{cause}"),
        }
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the arguments of `builtins.fetchGit` for a source such as `git+URL?branch=NAME#COMMIT`.
fn arguments(source: &str) -> Result<serde_json::Value> {
    let wrong = || format!("{source:?} is not a git source with a commit");
    let (url, commit) = source
        .strip_prefix("git+")
        .and_then(|rest| rest.split_once('#'))
        .with_context(wrong)?;
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let mut arguments = json!({ "url": url, "rev": commit, "submodules": true });
    match query.split_once('=') {
        Some(("branch", branch)) => arguments["ref"] = decode(branch).into(),
        Some(("tag", tag)) => arguments["ref"] = format!("refs/tags/{}", decode(tag)).into(),
        _ => arguments["allRefs"] = true.into(),
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_the_lock() {
        let commit = "0123456789012345678901234567890123456789";
        let of =
            |query: &str| arguments(&format!("git+https://git.example/a{query}#{commit}")).unwrap();
        assert_eq!(of("?branch=main")["ref"], "main");
        assert_eq!(of("?tag=v1")["ref"], "refs/tags/v1");
        assert_eq!(of("?branch=feature%2Fslash")["ref"], "feature/slash");
        assert_eq!(of("?tag=v1%2Bx")["ref"], "refs/tags/v1+x");
        assert_eq!(
            of("?branch=refs%2Fpull%2F7%2Fhead")["ref"],
            "refs/pull/7/head"
        );
        assert_eq!(of("")["allRefs"], true);
        assert_eq!(of("?rev=0123456")["rev"], commit);
        assert!(arguments("registry+https://index.example").is_err());
    }
}
