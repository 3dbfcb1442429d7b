//! Tests `assemble doctor`: breaks each thing, and expects a report of it.
#![allow(missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const ASSEMBLE: &str = env!("CARGO_BIN_EXE_assemble");

fn findings(command: &mut Command) -> (Vec<Value>, Option<i32>) {
    let Output { status, stdout, .. } = command.output().expect("doctor starts");
    let findings = serde_json::from_slice(&stdout).expect("doctor prints JSON");
    (findings, status.code())
}

fn doctor() -> Command {
    let mut command = Command::new(ASSEMBLE);
    command.args(["doctor", "--json"]);
    command
}

fn status<'a>(findings: &'a [Value], check: &str) -> Option<&'a str> {
    let finding = findings.iter().find(|finding| finding["check"] == check)?;
    finding["status"].as_str()
}

/// Makes a directory with links to programs, to use as the whole `PATH`.
fn path_with(programs: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in programs {
        let Ok(program) = which::which(name) else {
            continue;
        };
        std::os::unix::fs::symlink(program, directory.path().join(name)).unwrap();
    }
    directory
}

#[test]
fn without_git_a_repository_cannot_be_built() {
    let path = path_with(&["nix", "nix-store"]);
    let repository = tempfile::tempdir().unwrap();
    std::fs::create_dir(repository.path().join(".git")).unwrap();
    let in_directory = |directory: &Path| {
        let mut command = doctor();
        command
            .arg("--workspace")
            .arg(directory)
            .env("PATH", path.path());
        findings(&mut command)
    };
    let (found, code) = in_directory(repository.path());
    assert_eq!(status(&found, "git"), Some("error"), "{found:?}");
    assert_eq!(code, Some(1));
    let elsewhere = tempfile::tempdir().unwrap();
    let (found, _) = in_directory(elsewhere.path());
    assert_eq!(status(&found, "git"), Some("warning"), "{found:?}");
}

#[test]
fn without_nix_the_command_that_installs_it_is_named() {
    let path = path_with(&["git"]);
    let (found, code) = findings(doctor().env("PATH", path.path()));
    let nix = &found[0];
    assert_eq!(
        (nix["check"].as_str(), nix["status"].as_str()),
        (Some("nix"), Some("error"))
    );
    assert_eq!(nix["mend"], "apt-get install nix-bin");
    assert_eq!(code, Some(1));
}

#[test]
fn without_namespaces_units_are_traced_and_that_is_no_error() {
    let script = r#"echo 0 > /proc/sys/user/max_user_namespaces && exec "$@""#;
    let mut limited = Command::new("unshare");
    limited
        .args(["--user", "--map-root-user", "sh", "-c", script, "sh"])
        .args([ASSEMBLE, "doctor", "--json"]);
    match limited.output() {
        Ok(output) if !output.stdout.is_empty() => {}
        _ => return eprintln!("SKIPPED: no user namespace can be made and limited here"),
    }
    let (found, _) = findings(&mut limited);
    assert_eq!(status(&found, "namespaces"), Some("warning"), "{found:?}");
    assert_eq!(status(&found, "tracing"), Some("ok"), "{found:?}");
    let namespaces = found.iter().find(|f| f["check"] == "namespaces").unwrap();
    assert!(
        namespaces["mend"]
            .as_str()
            .unwrap()
            .contains("max_user_namespaces"),
        "{namespaces}"
    );
}

#[test]
fn credentials_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    for (text, expected) in [
        ("{\"credsStore\": \"no-such-helper\"}", "warning"),
        ("{", "warning"),
        ("{\"auths\": {}}", "ok"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (found, _) = findings(doctor().env("DOCKER_CONFIG", directory.path()));
        assert_eq!(status(&found, "credentials"), Some(expected), "{text}");
    }
}

/// Build users can't read root's home directory, where a compiled command line often lies.
#[test]
fn a_closed_directory_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(directory.path(), closed).unwrap();
    let program = directory.path().join("assemble");
    std::fs::copy(ASSEMBLE, &program).unwrap();
    let mut command = Command::new(program);
    let (inside, _) = findings(command.args(["doctor", "--json"]));
    let (outside, _) = findings(&mut doctor());
    assert_eq!(
        status(&inside, "namespaces"),
        status(&outside, "namespaces")
    );
}
