//! The seed as a Nix builder: in the sandbox and without it.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{errors, has, packages, scratch, seed_path, skipped, succeed};

/// Whether Nix can build here with its sandbox.
fn usable(test: &str) -> bool {
    let reason = if !has("nix-build") {
        "there is no nix-build"
    } else if !succeed(Command::new("id").arg("-u")).starts_with("0\n") {
        "building into a store of its own needs root here"
    } else if !fs::read_to_string("/etc/group")
        .unwrap_or_default()
        .contains("nixbld:")
    {
        "there is no group nixbld"
    } else {
        return true;
    };
    skipped(test, reason);
    false
}

/// Builds an expression with a store of its own and returns the first line of the output.
fn build(store: &Path, sandbox: &str, expression: &str) -> String {
    let mut command = Command::new("nix-build");
    command
        .args(["--no-out-link", "--option", "sandbox", sandbox, "--store"])
        .arg(store)
        .args(["--expr", expression]);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "sandbox = {sandbox}: {}",
        errors(&output)
    );
    let path = String::from_utf8(output.stdout).unwrap();
    fs::read_to_string(format!("{}{}", store.display(), path.trim())).unwrap()
}

/// Returns Nix expressions that copy files into the store.
fn sources(files: &[PathBuf]) -> String {
    let copied = |(index, file): (usize, &PathBuf)| {
        format!(
            "(builtins.path {{ path = {}; name = \"{index}.deb\"; }})",
            nix_path(file)
        )
    };
    files
        .iter()
        .enumerate()
        .map(copied)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns a Nix expression for a path that may have characters which literals do not allow.
fn nix_path(path: &Path) -> String {
    format!("(/. + \"{}\")", path.display())
}

#[test]
fn a_derivation_unpacks_and_another_runs_in_it() {
    let test = "a_derivation_unpacks_and_another_runs_in_it";
    if !usable(test) {
        return;
    }
    let names = [
        "coreutils",
        "dash",
        "libacl1",
        "libattr1",
        "libc6",
        "libgcc-s1",
        "libgmp10",
        "libpcre2-8-0",
        "libselinux1",
    ];
    let Some(packages) = packages(&names) else {
        return skipped(test, "apt-get cannot download packages");
    };
    let expression = format!(
        r#"let
          system = "{arch}-linux";
          builder = builtins.path {{ path = {seed}; name = "seed"; }};
          root = derivation {{
            name = "root"; inherit system builder;
            args = [ "unpack" "--into" (placeholder "out") ] ++ [ {packages} ];
          }};
        in derivation {{
          name = "run"; inherit system builder;
          args = [
            "cell" "--root" root "--writable" "/workspace" "--env" "PATH=/usr/bin" "--" "sh" "-c"
            ''
              echo x > /workspace/x
              echo $(id -u) $(id -g) $PWD $TMPDIR $NIX_BUILD_TOP $HOME > $out
              ! echo x > /usr/x
            ''
          ];
        }}"#,
        arch = std::env::consts::ARCH,
        seed = nix_path(seed_path()),
        packages = sources(&packages),
    );
    for sandbox in ["true", "false"] {
        let store = scratch();
        let seen = build(store.path(), sandbox, &expression);
        // Nix has no home; the rest is the same with the sandbox and without it.
        assert_eq!(
            seen, "1000 100 /build /build /build /homeless-shelter\n",
            "sandbox = {sandbox}"
        );
        succeed(Command::new("chmod").args(["-R", "u+w"]).arg(store.path()));
    }
}
