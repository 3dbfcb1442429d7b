//! Builds with Nix, and reads its build log.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use crateyard_flake::{Built, in_order};
use crateyard_nix::log::activity::BUILD;
use crateyard_nix::log::{Line, PREFIX};
use crateyard_nix::name_of;

use super::Done;
use crate::trial::Trial;

/// Caches are off, so that the bench measures only builds on this machine.
const SETTINGS: &str = "\
extra-experimental-features = nix-command flakes
sandbox = true
max-jobs = auto
substituters =
warn-dirty = false
";

/// The package with everything that evaluation reads: plans and the description. It is not in an
/// image's closure.
const EVALUATION: &str = "evaluation";

/// Fails if something is missing.
///
/// # Errors
/// When Nix is not installed.
pub(super) fn check() -> Result<()> {
    check_in(std::env::var_os("PATH"))
}

fn check_in(paths: Option<OsString>) -> Result<()> {
    which::which_in_global("nix", paths)
        .ok()
        .and_then(|mut found| found.next())
        .map(drop)
        .context("`nix` is not installed; on Debian: apt-get install nix-bin")
}

/// Builds the images before the first edit, so that tools and toolchain exist.
///
/// # Errors
/// When a build fails.
pub(super) fn prepare(trial: &Trial, names: &[String]) -> Result<()> {
    build(trial, names, None).map(drop)
}

/// Downloads the sources that a lock pins now, as a person would do before the build.
///
/// # Errors
/// When a source can't be downloaded.
pub(super) fn fetch(trial: &Trial, debian_lock: &Path) -> Result<()> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let lock = debian_lock.display().to_string();
    trial
        .run(&own.to_string_lossy(), &["fetch", "--lock", &lock])
        .map(drop)
}

/// A runner's binary cache, and the empty store that it begins with.
pub(super) struct Cache {
    url: String,
    directory: PathBuf,
    store: PathBuf,
}

impl Cache {
    /// Makes a cache with the closures of the images and of evaluation, without their build inputs.
    ///
    /// # Errors
    /// When Nix fails.
    pub(super) fn of(trial: &Trial, names: &[String], directory: &Path) -> Result<Cache> {
        let cache = directory.join("cache");
        let url = format!("file://{}?compression=zstd", cache.display());
        let mut wanted = attributes(trial, names);
        wanted.push(format!("{}#{EVALUATION}", trial.root().display()));
        run(nix(trial).args(["copy", "--to", &url]).args(wanted))?;
        Ok(Cache {
            url,
            directory: cache,
            store: directory.join("store"),
        })
    }

    /// Returns the number of bytes that the store got from the cache.
    fn fetched(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(self.store.join("nix/store"))? {
            let name = entry?.file_name();
            let hash: String = name
                .to_string_lossy()
                .chars()
                .take_while(|c| *c != '-')
                .collect();
            let info = fs::read_to_string(self.directory.join(format!("{hash}.narinfo")))
                .unwrap_or_default();
            let size = info
                .lines()
                .find_map(|line| line.strip_prefix("FileSize: "));
            bytes += size.and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(bytes)
    }
}

impl Drop for Cache {
    /// Makes the files writable, because files in a store are read-only.
    fn drop(&mut self) {
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(&self.store)
            .status();
    }
}

/// Builds images. If there is a cache, it builds them in the cache's own store.
///
/// # Errors
/// When a build fails. The error quotes Nix's output.
pub(super) fn build(trial: &Trial, names: &[String], cache: Option<&Cache>) -> Result<Done> {
    let mut command = nix(trial);
    command.args([
        "build",
        "--json",
        "--log-format",
        "internal-json",
        "--no-link",
    ]);
    if let Some(cache) = cache {
        command.arg("--store").arg(&cache.store);
        command.args(["--option", "substituters", &cache.url]);
        command.args(["--option", "require-sigs", "false"]);
    }
    command.args(attributes(trial, names));
    let start = Instant::now();
    let output = command.output().context("cannot start nix")?;
    let wall = start.elapsed();
    let log = Log::read(&output.stderr);
    if !output.status.success() {
        bail!("nix build failed: {}\n{}", output.status, log.text);
    }
    let built: Vec<Built> =
        serde_json::from_slice(&output.stdout).context("nix build printed no list of outputs")?;
    let attributes: Vec<String> = names.iter().map(|name| format!("{name}-image")).collect();
    let paths = in_order(built, &attributes)?.into_iter();
    let paths = paths.map(|path| match cache {
        Some(cache) => cache.store.join(path.strip_prefix("/").unwrap_or(&path)),
        None => path,
    });
    Ok(Done {
        paths: paths.collect(),
        compiled: log.built,
        wall,
        fetched: cache.map(Cache::fetched).transpose()?,
    })
}

fn attributes(trial: &Trial, names: &[String]) -> Vec<String> {
    let root = trial.root().display();
    let names = names.iter();
    names.map(|name| format!("{root}#{name}-image")).collect()
}

fn nix(trial: &Trial) -> Command {
    let own = std::env::var("NIX_CONFIG").unwrap_or_default();
    let mut command = crateyard_nix::environment::nix("nix");
    command
        .env("NIX_CONFIG", format!("{SETTINGS}{own}"))
        .current_dir(trial.root());
    command
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot start nix")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("nix failed: {}\n{said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The output of Nix with `--log-format internal-json`.
struct Log {
    /// Names of the derivations that were built.
    built: Vec<String>,
    /// Messages for people.
    text: String,
}

impl Log {
    fn read(output: &[u8]) -> Log {
        let mut log = Log {
            built: Vec::new(),
            text: String::new(),
        };
        for line in String::from_utf8_lossy(output).lines() {
            if !line.starts_with(PREFIX) {
                log.text.push_str(line);
                log.text.push('\n');
                continue;
            }
            match Line::parse(line) {
                Some(event) if event.action == "start" && event.kind == BUILD => {
                    let path = event.field(0);
                    log.built.extend(path.map(|path| name_of(path).to_owned()));
                }
                Some(event) if event.action == "msg" => {
                    log.text.push_str(&event.msg);
                    log.text.push('\n');
                }
                _ => {}
            }
        }
        log
    }
}

/// Returns the packages of the derivations that are units, and the number of these derivations. The
/// name of a unit begins with `NAME-VERSION`.
pub(super) fn units(built: &[String], packages: &[(String, String)]) -> (BTreeSet<String>, usize) {
    let package_of = |derivation: &String| {
        let found = packages.iter().find(|(name, version)| {
            let rest = derivation
                .strip_prefix(name.as_str())
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_prefix(version.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        found.map(|(name, _)| name.clone())
    };
    let units: Vec<String> = built.iter().filter_map(package_of).collect();
    (units.iter().cloned().collect(), units.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not every workspace has a Makefile that installs Nix.
    #[test]
    fn advice_works_in_any_workspace() {
        let empty = tempfile::tempdir().unwrap();
        let error = check_in(Some(empty.path().into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`nix` is not installed; on Debian: apt-get install nix-bin"
        );
    }

    #[test]
    fn builds_are_found_in_the_log() {
        let log = [
            r#"@nix {"action":"start","fields":["/nix/store/aaa-serde-1.0.1.drv","",1,1],"id":1,"#,
            r#""type":105}"#,
            "\n",
            r#"@nix {"action":"start","fields":["/nix/store/aaa-x"],"id":2,"type":101}"#,
            "\n",
            r#"@nix {"action":"msg","level":0,"msg":"error: no"}"#,
            "\n",
        ]
        .concat();
        let log = Log::read(log.as_bytes());
        assert_eq!(log.built, ["serde-1.0.1"]);
        assert_eq!(log.text, "error: no\n");
    }

    #[test]
    fn derivations_of_packages_are_units() {
        let locked = [("serde", "1.0.1"), ("gateway", "0.1.0")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()));
        let built = [
            "serde-1.0.1",
            "serde-1.0.1-build-script",
            "gateway-0.1.0-bin-gateway",
            "gateway-image",
            "plan",
            "serde-1.0.10",
        ];
        let (packages, units) = units(&built.map(str::to_owned), &locked);
        assert_eq!(packages, ["gateway", "serde"].map(str::to_owned).into());
        assert_eq!(units, 3);
    }
}
