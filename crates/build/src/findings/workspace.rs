//! Checks the needs of the workspace on this machine: git, and credentials for registries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Finding;

pub(crate) fn findings(workspace: &Path) -> Vec<Finding> {
    let mut all = vec![git(workspace)];
    all.extend(credentials());
    all
}

fn git(workspace: &Path) -> Finding {
    if let Ok(git) = which::which("git") {
        return Finding::ok("git", git.display().to_string());
    }
    let is_repository = workspace
        .canonicalize()
        .is_ok_and(|path| path.ancestors().any(|above| above.join(".git").exists()));
    let mend = "apt-get install git";
    if is_repository {
        return Finding::error(
            "git",
            "not installed, and the workspace is a git repository",
            "Nix can't read the workspace",
            mend,
        );
    }
    Finding::warning(
        "git",
        "not installed",
        "dependencies from git can't be fetched",
        mend,
    )
}

/// Checks Docker's file of credentials, if there is one.
fn credentials() -> Option<Finding> {
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    let file = directory.or_else(home)?.join("config.json");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(unusable(&file, &error.to_string())),
    };
    let config: Value = match serde_json::from_str(&text) {
        Ok(config) => config,
        Err(error) => return Some(unusable(&file, &error.to_string())),
    };
    let missing: Vec<String> = helpers(&config)
        .into_iter()
        .filter(|helper| which::which(helper).is_err())
        .collect();
    if missing.is_empty() {
        return Some(Finding::ok("credentials", file.display().to_string()));
    }
    let missing = missing.join(", ");
    Some(Finding::warning(
        "credentials",
        format!("{} names {missing}, which is not in PATH", file.display()),
        "pushes to the registries that it serves are refused",
        format!("install {missing}, or log in again without it"),
    ))
}

fn unusable(file: &Path, reason: &str) -> Finding {
    Finding::warning(
        "credentials",
        format!("{} can't be read: {reason}", file.display()),
        "pushes to registries that ask for credentials are refused",
        format!("mend or remove {}", file.display()),
    )
}

/// Returns the credential helpers that the file names.
fn helpers(config: &Value) -> BTreeSet<String> {
    let named = config["credHelpers"].as_object();
    let named = named.into_iter().flat_map(|helpers| helpers.values());
    [&config["credsStore"]]
        .into_iter()
        .chain(named)
        .filter_map(Value::as_str)
        .filter(|name| !name.is_empty())
        .map(|name| format!("docker-credential-{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_helpers_are_named_once() {
        let config = serde_json::json!({
            "credsStore": "pass",
            "credHelpers": {"a.example": "pass", "b.example": "ecr-login"},
        });
        let expected = ["docker-credential-ecr-login", "docker-credential-pass"];
        assert_eq!(helpers(&config).into_iter().collect::<Vec<_>>(), expected);
    }
}
