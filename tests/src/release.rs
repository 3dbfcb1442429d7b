//! Another release of Debian in a directory, and its programs.
//!
//! A process enters it with a mount namespace and `pivot_root`. A plain chroot would not do,
//! because it allows no user namespaces, which Nix's sandbox and cells need.
//!
//! The process also gets a process namespace. Around each build, Nix kills all processes of the
//! build user, by number. Without a namespace, it would also kill the machine's builds and services
//! with that number, and processes of an ended test would survive.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Nix and the programs that it calls. nix-bin needs `libdbi-perl` through a virtual package, which
/// debootstrap does not resolve.
const PACKAGES: &str = "nix-bin,libdbi-perl,ca-certificates,git,xz-utils";

/// Runs inside a release as `sh -c SCRIPT sh ROOT DIRECTORY... -- PROGRAM ARGUMENT...`. The named
/// directories of the machine appear at the same paths, read-only.
const ENTER: &str = r#"
set -eu
root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for directory in /sys /dev; do
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

/// The numbers of Nix's build users in a release. They are far from Debian's own numbers, because
/// the machine's Nix also kills by number.
const BUILD_USERS: std::ops::Range<u32> = 58_710..58_714;

/// Makes the users: `sh -c SCRIPT sh UID...`.
const MAKE_BUILD_USERS: &str = "
set -eu
groupadd --gid $1 nixbld
for id; do
    useradd --uid $id --gid nixbld --groups nixbld --no-create-home --home-dir /var/empty \\
        --shell /usr/sbin/nologin nixbld$id
done
";

/// A release of Debian with Nix, kept between runs.
pub struct Release {
    root: PathBuf,
}

impl Release {
    /// Makes the release of a suite, or reuses the one of an earlier run.
    ///
    /// # Errors
    /// When this machine can't make it. The error says why.
    pub fn with_nix(suite: &str) -> Result<Self> {
        ensure!(is_root(), "only root can make and enter another release");
        for id in BUILD_USERS {
            let known = duct::cmd!("getent", "passwd", id.to_string()).stdout_null();
            ensure!(
                !known.unchecked().run()?.status.success(),
                "the user number {id}, which builds in the release would have, is taken here"
            );
        }
        let root = cache(&format!("roots/{suite}"))?;
        if !root.exists() {
            which::which("debootstrap").context("debootstrap is not installed")?;
            bootstrap(suite, &root)?;
        }
        Ok(Self { root })
    }

    /// Runs a program in it, with directories of the machine and variables. Returns the program's
    /// standard output and standard error.
    pub fn run(
        &self,
        directories: &[&Path],
        environment: &[(&str, &str)],
        command: &[&str],
    ) -> Result<(String, String)> {
        // When the test ends, unshare ends, and with it the namespace.
        let mut arguments: Vec<String> = [
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
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
        let mut expression = duct::cmd("setpriv", arguments)
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

    /// Returns the path on the machine of a path in the release.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }
}

/// Returns a directory that tests keep between runs.
pub fn cache(name: &str) -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/crateyard").join(name))
}

fn is_root() -> bool {
    duct::cmd!("id", "-u")
        .read()
        .is_ok_and(|id| id.trim() == "0")
}

/// Makes the release in a temporary place first, so that an incomplete one is never used.
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
    let ids: Vec<String> = BUILD_USERS.map(|id| id.to_string()).collect();
    let mut command = vec!["sh", "-c", MAKE_BUILD_USERS, "sh"];
    command.extend(ids.iter().map(String::as_str));
    made.run(&[], &[], &command)?;
    made.run(&[], &[], &["apt-get", "clean"])?;
    fs::rename(&part, root)?;
    Ok(())
}

/// Returns the mirror that apt uses on this machine.
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
