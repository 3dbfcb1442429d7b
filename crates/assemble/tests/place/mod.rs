//! A directory with keys and images, in which the program runs.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

/// An ECDSA P-256 key pair that protects nothing: `openssl ecparam -name prime256v1 -genkey`.
const KEY: &str = include_str!("../keys/signer.pem");
const PUBLIC: &str = include_str!("../keys/signer.pub");
const OTHER_PUBLIC: &str = include_str!("../keys/other.pub");

pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place {
            directory: tempfile::tempdir().unwrap(),
        };
        for (name, text) in [
            ("key", KEY),
            ("key.pub", PUBLIC),
            ("other.pub", OTHER_PUBLIC),
        ] {
            std::fs::write(place.path(name), text).unwrap();
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the program, and returns its exit code and both outputs.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> (i32, String) {
        self.run_with(program, arguments, &[])
    }

    /// Like `run`, with more variables.
    pub(crate) fn run_with(
        &self,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> (i32, String) {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .env("COSIGN_PASSWORD", "secret")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("DOCKER_CONFIG")
            .env_remove("GITHUB_ACTIONS")
            .env_remove("GITLAB_CI")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8(text).unwrap(),
        )
    }

    pub(crate) fn assemble(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(env!("CARGO_BIN_EXE_assemble"), arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    }

    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(env!("CARGO_BIN_EXE_assemble"), arguments);
        assert_ne!(code, 0, "{arguments:?}: {text}");
        text
    }

    /// Makes an image whose program contains `text` and uses the crate serde in `version`.
    pub(crate) fn image(&self, name: &str, text: &str, version: &str) -> String {
        let layer = self.path(&format!("{name}.layer"));
        let file = json!({"kind": "text", "to": "/usr/bin/app", "text": text, "mode": "0755"});
        let spec = json!({"version": 1, "comment": "app", "sources": [file]});
        crateyard_image::layer::make(&serde_json::from_value(spec).unwrap(), &layer, 1).unwrap();
        let unit = json!({
            "package": "serde", "version": version, "kind": "lib", "forTarget": true,
            "source": "registry+https://github.com/rust-lang/crates.io-index", "checksum": "00",
        });
        let own = json!({
            "package": "app", "version": "0.1.0", "kind": "bin", "forTarget": true,
            "uses": ["serde"],
            "repository": "https://github.com/example/app",
        });
        let spec = json!({
            "version": 1, "name": "app", "references": ["app:1"],
            "platform": {"os": "linux", "architecture": "amd64"}, "layers": [layer],
            "inputs": {
                "description": {"name": "app"},
                "build": {"profile": "release", "target": "x86_64-unknown-linux-gnu"},
                "units": {"serde": unit, "app": own},
                "programs": [{"path": "/usr/bin/app", "package": "app", "bin": "app", "unit": "app",
                    "units": ["serde"]}],
            },
        });
        let out = self.path(name);
        crateyard_image::layout::make(&serde_json::from_value(spec).unwrap(), &out).unwrap();
        out.to_str().unwrap().to_owned()
    }
}

pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    });
    if !found {
        crateyard_testing::skip("attachments", &format!("{program} is not installed"));
    }
    found
}
