//! A workspace to build, and calls of the engine.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fixture::{self, for_workspace};
use crateyard_dockerfile::DOCKERFILE;
use tempfile::TempDir;

pub(crate) const MEMBERS: [&str; 4] = ["fleet", "gateway", "marks", "supervisor"];

/// A workspace with its generated files, and the settings for calls of the engine.
pub(crate) struct Build {
    pub(crate) workspace: TempDir,
    pub(crate) vendor: TempDir,
    pub(crate) toolchain: String,
}

/// The crates that one call compiled, and its log.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) compiled: BTreeSet<String>,
    pub(crate) log: String,
}

impl Build {
    /// Makes a workspace that no build has seen before, or returns the reason why that is
    /// impossible.
    pub(crate) fn of(fixture: &str) -> Result<Build, String> {
        let toolchain = toolchain()?;
        let workspace = fixture::copy_of(fixture);
        let path = workspace.path();
        // The engine keeps its results. A unique variable makes this workspace's dependencies new.
        let unique = path.display().to_string();
        let config = path.join(".cargo/config.toml");
        let text = fs::read_to_string(&config).unwrap_or_default();
        fs::create_dir_all(path.join(".cargo")).unwrap();
        fs::write(config, format!("{text}\n[env]\nFIXTURE = \"{unique}\"\n")).unwrap();
        let vendor = tempfile::tempdir().unwrap();
        let output = Command::new("cargo")
            .args(["vendor", "--locked", "--versioned-dirs"])
            .arg(vendor.path())
            .current_dir(path)
            .output()
            .map_err(|error| format!("there is no cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo vendor failed: {}", text_of(&output)));
        }
        let build = Build {
            workspace,
            vendor,
            toolchain,
        };
        build.generate();
        Ok(build)
    }

    pub(crate) fn generate(&self) {
        for (name, text) in for_workspace(self.path()).unwrap() {
            fs::write(self.path().join(name), text).unwrap();
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.workspace.path()
    }

    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        fixture::edit(self.path(), file, from, to);
    }

    pub(crate) fn append(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        let there = fs::read_to_string(&path).unwrap();
        fs::write(path, there + text).unwrap();
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new("docker");
        command.args(["buildx", "build", "--progress=plain", "--file", DOCKERFILE]);
        for (context, at) in [
            ("builder-image", &self.toolchain),
            ("base-image", &self.toolchain),
        ] {
            command
                .arg("--build-context")
                .arg(format!("{context}={at}"));
        }
        command
            .arg("--build-context")
            .arg(format!("vendor={}", self.vendor.path().display()));
        let output = command
            .args(arguments)
            .arg(".")
            .current_dir(self.path())
            .output()
            .unwrap();
        let log = text_of(&output);
        Outcome {
            success: output.status.success(),
            compiled: compiled(&log),
            log,
        }
    }

    /// Builds a target only for its log.
    pub(crate) fn target(&self, target: &str) -> BTreeSet<String> {
        let outcome = self.docker(&["--target", target, "--output=type=cacheonly"]);
        assert!(outcome.success, "{}", outcome.log);
        outcome.compiled
    }

    /// Exports a target into a directory.
    pub(crate) fn exported(&self, target: &str, more: &[&str]) -> TempDir {
        let out = tempfile::tempdir().unwrap();
        let output = format!("--output=type=local,dest={}", out.path().display());
        let outcome = self.docker(&[&["--target", target, &output], more].concat());
        assert!(outcome.success, "{}", outcome.log);
        out
    }
}

pub(crate) fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Returns the crates that Cargo reports as compiled.
pub(crate) fn compiled(log: &str) -> BTreeSet<String> {
    log.lines()
        .filter_map(|line| line.split_once(" Compiling ")?.1.split(' ').next())
        .map(str::to_string)
        .collect()
}

pub(crate) fn toolchain() -> Result<String, String> {
    for arguments in [&["buildx", "version"][..], &["info"]] {
        let output = Command::new("docker").args(arguments).output();
        let output = output.map_err(|error| format!("there is no docker: {error}"))?;
        if !output.status.success() {
            let said = text_of(&output);
            let last = said.trim().lines().last().unwrap_or_default();
            return Err(format!("`docker {}` failed: {last}", arguments.join(" ")));
        }
    }
    if let Some(image) = std::env::var_os("CRATEYARD_BUILDER_IMAGE") {
        return Ok(format!("docker-image://{}", image.to_string_lossy()));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let layout: PathBuf = root.join(".crateyard/layouts/builder-image");
    match fs::canonicalize(&layout) {
        Ok(layout) => Ok(format!("oci-layout://{}", layout.display())),
        Err(_) => Err(format!(
            "there is no toolchain: CRATEYARD_BUILDER_IMAGE is not set, {} is missing",
            layout.display()
        )),
    }
}

/// Returns a build of the workspace, or prints the reason why the test is skipped.
pub(crate) fn build_or_skip(test: &str) -> Option<Build> {
    build_of_or_skip("workspace", test)
}

pub(crate) fn build_of_or_skip(fixture: &str, test: &str) -> Option<Build> {
    Build::of(fixture)
        .map_err(|reason| fixture::skipped(test, &reason))
        .ok()
}

pub(crate) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Makes a command that runs a program where the engine runs. The tests' own engine has its own
/// network, which `ENGINE_NETWORK` names.
pub(crate) fn where_the_engine_is(program: &str) -> Command {
    let Ok(network) = std::env::var("ENGINE_NETWORK") else {
        return Command::new(program);
    };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={network}")).arg(program);
    command
}

pub(crate) fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("there is no free port: {error}"))
}
