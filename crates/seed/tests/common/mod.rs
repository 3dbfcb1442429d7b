//! Shared parts of the tests: the program under test, real packages, and packages made for a test.
#![allow(dead_code, missing_docs)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

/// Returns a command that runs the seed, standalone as it is shipped: the file that `SEED_BINARY`
/// names, or else one built for this machine.
pub(crate) fn seed() -> Command {
    Command::new(seed_path())
}

pub(crate) fn seed_path() -> &'static Path {
    static SEED: OnceLock<PathBuf> = OnceLock::new();
    SEED.get_or_init(|| match std::env::var_os("SEED_BINARY") {
        Some(path) => PathBuf::from(path),
        None => build(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
            .expect("the seed builds for this machine"),
    })
}

/// Builds the seed for a target. Returns `None` if the toolchain lacks the target.
pub(crate) fn build(target: &str) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standalone");
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--profile",
            "seed",
            "-p",
            "crateyard-seed",
            "--target",
            target,
            "--target-dir",
        ])
        .arg(&directory)
        // The machine may lack another architecture's linker. This one knows all architectures.
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-Clinker=ld.lld -Clinker-flavor=ld.lld",
        )
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let messages = String::from_utf8_lossy(&output.stderr);
    if messages.contains("can't find crate for `core`") || messages.contains("linker `") {
        return None;
    }
    assert!(output.status.success(), "{messages}");
    Some(directory.join(target).join("seed/seed"))
}

/// Says that a test did not run, and the reason.
pub(crate) fn skipped(test: &str, reason: &str) {
    eprintln!("SKIPPED: {test}: {reason}");
}

pub(crate) fn has(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Runs a command that must succeed, and returns its output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        errors(&output)
    );
    String::from_utf8(output.stdout).expect("the output is text")
}

/// Runs a command that must fail with an exit code, and returns its messages.
pub(crate) fn fail(command: &mut Command, code: i32) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}: {}",
        errors(&output)
    );
    errors(&output)
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Makes a directory for one test.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

/// Returns packages of the machine's distribution, which apt downloads once. Returns `None` without
/// apt or a mirror.
pub(crate) fn packages(names: &[&str]) -> Option<Vec<PathBuf>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    fs::create_dir_all(&directory).expect("a directory for packages");
    names.iter().map(|name| package(&directory, name)).collect()
}

fn package(directory: &Path, name: &str) -> Option<PathBuf> {
    let present = |directory: &Path| {
        let files = fs::read_dir(directory)
            .expect("the directory of packages")
            .flatten();
        files.map(|file| file.path()).find(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(&format!("{name}_")) && file.ends_with(".deb")
        })
    };
    present(directory).or_else(|| {
        // Another program must not find a part of the package.
        let place = scratch();
        Command::new("apt-get")
            .args(["download", name])
            .current_dir(place.path())
            .output()
            .ok()?;
        let package = present(place.path())?;
        let kept = directory.join(package.file_name()?);
        fs::rename(package, &kept).ok()?;
        Some(kept)
    })
}

/// The packages of a root file system with a shell and the basic tools.
const PACKAGES: [&str; 10] = [
    "base-files",
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

/// Returns a root file system of [`PACKAGES`], which all tests of a program share.
pub(crate) fn root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        // Other programs run at the same time.
        let name = concat!("root-", env!("CARGO_CRATE_NAME"));
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if root.exists() {
            fs::remove_dir_all(&root).expect("an earlier root can be removed");
        }
        unpack_root(&root).then_some(root)
    });
    root.as_deref()
}

/// Unpacks [`PACKAGES`] into a new directory. Returns `false` if apt cannot download them.
pub(crate) fn unpack_root(root: &Path) -> bool {
    let Some(packages) = packages(&PACKAGES) else {
        return false;
    };
    succeed(
        seed()
            .args(["unpack", "--into"])
            .arg(root)
            .args([
                "--text",
                "etc/passwd=builder:x:1000:100::/nonexistent:/bin/sh\n",
                "--text",
                "etc/group=users:x:100:\n",
            ])
            .args(packages),
    );
    true
}

/// Returns the root for the tests' programs, if this machine can have cells at all.
pub(crate) fn usable_root(test: &str) -> Option<&'static Path> {
    let Some(root) = root() else {
        skipped(test, "apt-get cannot download packages");
        return None;
    };
    let tried = seed()
        .args(["cell", "--root"])
        .arg(root)
        .args(["--", "/bin/true"])
        .output()
        .unwrap();
    if tried.status.code() == Some(125) {
        skipped(test, &errors(&tried));
        return None;
    }
    assert!(tried.status.success(), "{}", errors(&tried));
    Some(root)
}

/// Returns a command for a cell with these options, in which a shell runs a script.
pub(crate) fn shell(root: &Path, options: &[&str], script: &str) -> Command {
    let mut command = seed();
    command
        .args(["cell", "--root"])
        .arg(root)
        .args(["--env", "PATH=/usr/bin"])
        .args(options)
        .args(["--", "sh", "-c", script]);
    command
}

/// An entry of a tar archive made for a test.
pub(crate) struct Entry {
    name: String,
    kind: u8,
    mode: u32,
    link: String,
    data: Vec<u8>,
}

impl Entry {
    pub(crate) fn file(name: &str, data: &[u8]) -> Self {
        Self {
            name: name.into(),
            kind: b'0',
            mode: 0o644,
            link: String::new(),
            data: data.into(),
        }
    }

    pub(crate) fn directory(name: &str) -> Self {
        Self {
            kind: b'5',
            mode: 0o755,
            ..Self::file(name, b"")
        }
    }

    pub(crate) fn symlink(name: &str, target: &str) -> Self {
        Self {
            kind: b'2',
            mode: 0o777,
            link: target.into(),
            ..Self::file(name, b"")
        }
    }

    pub(crate) fn hard_link(name: &str, target: &str) -> Self {
        Self {
            kind: b'1',
            link: target.into(),
            ..Self::file(name, b"")
        }
    }

    pub(crate) fn of_kind(name: &str, kind: u8) -> Self {
        Self {
            kind,
            ..Self::file(name, b"")
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.name
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }
}

/// Makes a tar archive of the entries, whether they make sense or not.
pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        let mut header = [0; 512];
        header[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        header[100..107].copy_from_slice(format!("{:07o}", entry.mode).as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", entry.data.len()).as_bytes());
        header[156] = entry.kind;
        header[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header[257..265].copy_from_slice(b"ustar  \0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(&entry.data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// Makes a package around the bytes of its data member.
pub(crate) fn deb(data_name: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"!<arch>\n".to_vec();
    for (name, data) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar", &tar(&[])),
        (data_name, data),
    ] {
        writeln!(
            file,
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
            0,
            0,
            0,
            "100644",
            data.len()
        )
        .expect("memory");
        file.extend_from_slice(data);
        if data.len() % 2 == 1 {
            file.push(b'\n');
        }
    }
    file
}

/// Makes a package that is not compressed.
pub(crate) fn plain_deb(entries: &[Entry]) -> Vec<u8> {
    deb("data.tar", &tar(entries))
}

/// Compresses bytes by a command.
pub(crate) fn compressed(tool: &[&str], data: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool[0])
        .args(&tool[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the compressor starts");
    let mut input = child.stdin.take().expect("a pipe");
    let data = data.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&data));
    let output = child.wait_with_output().expect("the compressor ends");
    writer
        .join()
        .expect("the writer ends")
        .expect("the compressor reads");
    output.stdout
}
