//! Removes settings of `.cargo/config.toml` that describe the machine or the caller, not the
//! program. <https://doc.rust-lang.org/cargo/reference/config.html>

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The paths, relative to the workspace, where Cargo looks for its configuration.
const FILES: [&str; 2] = [".cargo/config.toml", ".cargo/config"];

/// The system of the default targets.
const USUAL: &str = "unknown-linux-gnu";

/// Keys of `[build]` that say how a machine compiles, not what. Wrappers such as sccache are
/// useless here, because Nix caches every unit.
const OF_THE_MACHINE: [&str; 9] = [
    "build-dir",
    "incremental",
    "jobs",
    "rustc",
    "rustc-workspace-wrapper",
    "rustc-wrapper",
    "rustdoc",
    "target",
    "target-dir",
];

/// The workspace's configuration.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Each file, relative to the workspace, and its original text.
    texts: Vec<(&'static str, String)>,
    /// `build.target`.
    targets: Vec<String>,
}

/// Removes from the workspace's configuration the machine's settings, and the settings that the
/// planner decides: where sources come from and which target is built. Leaves a file that is not
/// valid TOML to Cargo. Only a nightly toolchain obeys `[unstable]`. Debian's Cargo would obey it
/// too, because it identifies itself as a development version.
///
/// # Errors
/// Fails if the file can't be written.
pub fn settle(workspace: &Path, is_nightly: bool) -> Result<Configuration> {
    let mut configuration = Configuration::default();
    for file in FILES {
        let path = workspace.join(file);
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        if let Ok(mut table) = toml::from_str::<Table>(&text) {
            configuration.targets.extend(targets(&table));
            if strip(&mut table, is_nightly) {
                replace(&path, &table.to_string())?;
            }
        }
        configuration.texts.push((file, text));
    }
    Ok(configuration)
}

fn targets(table: &Table) -> Vec<String> {
    let target = table.get("build").and_then(|build| build.get("target"));
    let all = match target {
        Some(Value::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let names = all.iter().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// Removes the settings from a file's table, and returns whether it removed any.
fn strip(table: &mut Table, is_nightly: bool) -> bool {
    let mut changed = table.remove("source").is_some();
    changed |= !is_nightly && table.remove("unstable").is_some();
    if let Some(Value::Table(build)) = table.get_mut("build") {
        for key in OF_THE_MACHINE {
            changed |= build.remove(key).is_some();
        }
    }
    if let Some(Value::Table(targets)) = table.get_mut("target") {
        for target in targets.iter_mut().filter_map(|(_, t)| t.as_table_mut()) {
            changed |= target.remove("runner").is_some();
        }
    }
    changed
}

/// Replaces a file of the Nix store, which is read-only and may be a link.
fn replace(path: &Path, text: &str) -> Result<()> {
    let place: PathBuf = fs::canonicalize(path)?;
    fs::remove_file(&place)?;
    fs::write(&place, text).with_context(|| format!("cannot write {}", path.display()))
}

impl Configuration {
    /// Returns the arguments with the target that the configuration asks for. Takes another C
    /// library than the request's if the toolchain has Rust's standard library for it.
    ///
    /// # Errors
    /// Fails if the configuration asks for a target that can't be built.
    pub fn aim(&self, mut args: Vec<String>) -> Result<Vec<String>> {
        let index = args.iter().position(|arg| arg == "--target");
        let Some(value) = index.map(|index| index + 1).filter(|&i| i < args.len()) else {
            return Ok(args);
        };
        let (architecture, system) = args[value].split_once('-').unwrap_or((&args[value], ""));
        let mut systems = self.targets.iter().map(|target| system_of(target));
        // A target that images.toml names takes precedence.
        let is_explicit = system != USUAL;
        if self.targets.is_empty() || is_explicit || systems.any(|asked| asked == system) {
            return Ok(args);
        }
        let same = |target: &&String| target.starts_with(&format!("{architecture}-unknown-linux-"));
        let asked = self.targets.iter().find(same).unwrap_or(&self.targets[0]);
        if has_standard_library(asked) && same(&asked) {
            args[value].clone_from(asked);
            return Ok(args);
        }
        let at = self.locate(asked);
        bail!(
            "{at} builds for `{asked}` by default, and the toolchain has no standard library for \
             that, only for `{}`\n  Remove `target` from `[build]` and give it to the calls that \
             need it (cargo build --target {asked}), or choose a toolchain with that target; \
             docs/toolchain.md says how. A program that is to stand on no base can be linked \
             statically without it: rustflags = [\"-C\", \"target-feature=+crt-static\"]",
            args[value]
        );
    }

    /// Returns FILE:LINE of the first line that contains a text, or the first file if no line does.
    pub fn locate(&self, wanted: &str) -> String {
        for (file, text) in &self.texts {
            let mut lines = text
                .lines()
                .map(|line| line.split('#').next().unwrap_or(line));
            if let Some(index) = lines.position(|line| line.contains(wanted)) {
                return format!("{file}:{}", index + 1);
            }
        }
        "Cargo's configuration".to_owned()
    }
}

/// Returns the system of a target: `unknown-linux-musl` for `x86_64-unknown-linux-musl`.
fn system_of(target: &str) -> &str {
    target.split_once('-').map_or("", |(_, system)| system)
}

fn has_standard_library(target: &str) -> bool {
    Path::new("/usr/lib/rustlib")
        .join(target)
        .join("lib")
        .is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(text: &str) -> (Configuration, Table) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILES[0]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let configuration = settle(directory.path(), false).unwrap();
        let left = fs::read_to_string(path).unwrap();
        (configuration, toml::from_str(&left).unwrap())
    }

    #[test]
    fn wrappers_and_runners_are_taken_out_and_flags_stay() {
        let (_, left) = settled(
            "[build]\nrustc-wrapper = \"sccache\"\nrustflags = [\"--cfg=x\"]\n\
             [target.'cfg(unix)']\nrunner = \"sudo -E\"\nlinker = \"clang\"\n\
             [unstable]\nbuild-std = [\"std\"]\n[source.crates-io]\nreplace-with = \"vendored\"\n",
        );
        let expected =
            "[build]\nrustflags = [\"--cfg=x\"]\n[target.'cfg(unix)']\nlinker = \"clang\"\n";
        assert_eq!(left, toml::from_str(expected).unwrap());
    }

    #[test]
    fn another_system_is_refused_by_name_and_another_architecture_is_not() {
        let args = |target: &str| vec!["build".into(), "--target".into(), target.to_owned()];
        let (configuration, _) =
            settled("# x\n[build]\ntarget = \"x86_64-unknown-linux-musl\" # static\n");
        let error = configuration.aim(args("x86_64-unknown-linux-gnu"));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(".cargo/config.toml:3 builds"), "{error}");
        assert!(error.contains("x86_64-unknown-linux-musl"), "{error}");
        let (configuration, _) = settled("[build]\ntarget = [\"x86_64-unknown-linux-gnu\"]\n");
        let arm = args("aarch64-unknown-linux-gnu");
        assert_eq!(configuration.aim(arm.clone()).unwrap(), arm);
    }
}
