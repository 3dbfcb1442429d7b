//! Another release of Debian in a directory, and what its programs do there.
//!
//! A process enters it by a mount namespace of its own and `pivot_root`: in a plain chroot no user
//! namespace can be made, and then neither Nix's sandbox nor a cell.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Nix, and what it calls. `libdbi-perl` is what Debian's nix-bin needs through a virtual package,
/// which debootstrap does not resolve.
const PACKAGES: &str = "nix-bin,libdbi-perl,ca-certificates,git,xz-utils";

/// Runs inside a release as `sh -c SCRIPT sh ROOT DIRECTORY... -- PROGRAM ARGUMENT...`; directories
/// of the machine that are named show at the same path, read-only.
const ENTER: &str = r#"
set -eu
root=$1
shift
mount --bind "$root" "$root"
for directory in /proc /sys /dev; do
    mount --rbind "$directory" "$root$directory"
done
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
    mount -o remount,bind,ro "$root$1"
    shift
done
shift
mkdir -p "$root/.machine"
cd "$root"
pivot_root . .machine
cd /
umount --lazy /.machine
exec "$@"
"#;

/// The users that Nix builds as.
const BUILD_USERS: &str = "
set -eu
getent group nixbld >/dev/null || groupadd --system nixbld
for n in 1 2 3 4; do
    getent passwd nixbld$n >/dev/null || useradd --system --gid nixbld --groups nixbld \
        --no-create-home --home-dir /var/empty --shell /usr/sbin/nologin nixbld$n
done
";

/// A release of Debian with Nix, kept between runs.
pub struct Release {
    root: PathBuf,
}

impl Release {
    /// Makes the release of a suite's name, or takes the one that an earlier run has made.
    ///
    /// # Errors
    /// Says why this machine can't have it.
    pub fn with_nix(suite: &str) -> Result<Self> {
        ensure!(is_root(), "only root can make and enter another release");
        let root = cache(&format!("roots/{suite}"))?;
        if !root.exists() {
            which::which("debootstrap").context("debootstrap is not installed")?;
            bootstrap(suite, &root)?;
        }
        Ok(Self { root })
    }

    /// Runs a program in it, with directories of the machine and variables. Gives what the program
    /// prints to its output, and to its standard error.
    pub fn run(
        &self,
        directories: &[&Path],
        environment: &[(&str, &str)],
        command: &[&str],
    ) -> Result<(String, String)> {
        let mut arguments: Vec<String> = [
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            ENTER,
            "sh",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(self.root.to_string_lossy().into_owned());
        arguments.extend(directories.iter().map(|d| d.to_string_lossy().into_owned()));
        arguments.push("--".into());
        arguments.extend(command.iter().map(|&a| a.to_owned()));
        let mut expression = duct::cmd("unshare", arguments)
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .env("HOME", "/root")
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env_remove("TMPDIR");
        for (name, value) in environment {
            expression = expression.env(name, value);
        }
        let output = expression.run()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "in {}: {} failed:\n{errors}",
            self.root.display(),
            command.join(" ")
        );
        Ok((text, errors))
    }

    /// A path of the release as the machine sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }
}

/// A directory that tests keep between runs.
pub fn cache(name: &str) -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/crateyard").join(name))
}

fn is_root() -> bool {
    duct::cmd!("id", "-u")
        .read()
        .is_ok_and(|id| id.trim() == "0")
}

/// Beside its place first, so that a half-made one is never taken.
fn bootstrap(suite: &str, root: &Path) -> Result<()> {
    let mirror = mirror()?;
    let part = root.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    let log = part.join("debootstrap/debootstrap.log");
    let output = duct::cmd!(
        "debootstrap",
        "--variant=minbase",
        format!("--include={PACKAGES}"),
        suite,
        &part,
        &mirror
    )
    .stderr_to_stdout()
    .stdout_capture()
    .unchecked()
    .run()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    ensure!(
        output.status.success(),
        "debootstrap {suite} {mirror} failed ({}): {last:?}",
        log.display()
    );
    let made = Release { root: part.clone() };
    made.run(&[], &[], &["sh", "-c", BUILD_USERS])?;
    made.run(&[], &[], &["apt-get", "clean"])?;
    fs::rename(&part, root)?;
    Ok(())
}

/// The mirror that apt uses on this machine.
fn mirror() -> Result<String> {
    let targets = duct::cmd!(
        "apt-get",
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Created-By: Packages"
    )
    .read()?;
    let found = targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian "))
        .context("apt has no mirror of Debian's archive")?;
    Ok(found.to_owned())
}
