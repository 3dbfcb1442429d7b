//! Runs a step's command: as root of a user namespace whose `/` is the image's files.
//!
//! This program starts itself twice. [`enter`] makes the namespaces. Its child [`begin`] is the
//! first process in them: it makes the root, runs the command and waits. When it ends, the kernel
//! ends all processes that the command has left. The seed's cells (crates/seed) are for programs
//! that read a root and write elsewhere, as nobody in particular. A step writes to its root, as
//! root.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context as _, bail};
use crateyard_image::layer::{NOT_STARTED, Runner, StepCommand};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};
use rustix::process::{getgid, getuid, pivot_root, umask};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The path of this program.
const SELF: &str = "/proc/self/exe";
/// The devices that a command may use.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
/// Links in `/dev` and their targets.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];
/// The name of the machine in every build.
const HOST_NAME: &[u8] = b"localhost";

/// The runner of commands in namespaces of this machine.
pub(crate) struct Cells {
    pub(crate) workplace: PathBuf,
}

impl Runner for Cells {
    fn workplace(&self) -> &Path {
        &self.workplace
    }

    fn run(&self, command: &StepCommand) -> io::Result<ExitStatus> {
        start(&["enter", &serde_json::to_string(command)?])
    }
}

/// Starts this program again.
fn start(arguments: &[&str]) -> io::Result<ExitStatus> {
    Command::new(SELF)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
}

/// `image enter`: makes the namespaces.
pub(crate) fn enter(command: &str) -> ExitCode {
    let begun = make_namespaces().and_then(|()| Ok(start(&["begin", command])?));
    ended(begun)
}

/// `image begin`: makes the root and runs the command.
pub(crate) fn begin(command: &str) -> ExitCode {
    let run = || {
        let command: StepCommand = serde_json::from_str(command)?;
        make_root(&command)?;
        run_in_root(&command)
    };
    ended(run())
}

fn ended(status: anyhow::Result<ExitStatus>) -> ExitCode {
    match status {
        Ok(status) => {
            let signal = || 128 + status.signal().unwrap_or_default();
            let code = status.code().unwrap_or_else(signal);
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("image: {error:#}");
            ExitCode::from(NOT_STARTED as u8)
        }
    }
}

fn make_namespaces() -> anyhow::Result<()> {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let mut flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    // A derivation's cell has only a loopback interface, which a command may use.
    let has_network = has_network()?;
    if has_network {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: this process has one thread, and nothing in it relies on the namespaces that it
    // leaves.
    unsafe { unshare_unsafe(flags) }.map_err(forbidden)?;
    let write = |name: &str, text: String| {
        let path = format!("/proc/self/{name}");
        fs::write(&path, text).with_context(|| format!("cannot write {path}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))?;
    rustix::system::sethostname(HOST_NAME).context("cannot name the machine")?;
    if has_network {
        crateyard_loopback::switch_on();
    }
    Ok(())
}

fn forbidden(errno: Errno) -> anyhow::Error {
    anyhow::anyhow!(
        "a step needs user namespaces, which are forbidden here ({errno}): `assemble doctor` says \
         what helps"
    )
}

/// Whether this process sees an interface besides the loopback.
fn has_network() -> anyhow::Result<bool> {
    let table = fs::read_to_string("/proc/self/net/dev").context("cannot list interfaces")?;
    // Skip two lines of headings.
    let mut names = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next());
    Ok(names.any(|name| name.trim() != "lo"))
}

/// Makes the command's root the root of this process.
fn make_root(command: &StepCommand) -> anyhow::Result<()> {
    let root = &command.root;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .context("cannot mount in a user namespace")?;
    mount_bind(root, root).context("cannot mount the root of a step")?;
    for (number, place) in command.temporary_places.iter().enumerate() {
        let directory = command.temporary.join(number.to_string());
        fs::create_dir(&directory).context("cannot make a temporary directory")?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777))?;
        mount_bind(&directory, root.join(place))
            .with_context(|| format!("cannot mount /{place}"))?;
    }
    make_devices(&root.join("dev")).context("cannot make /dev")?;
    mount_proc(&root.join("proc")).context("cannot mount /proc")?;
    std::env::set_current_dir(root)?;
    // The old root goes onto the new one and is unmounted there.
    pivot_root(".", ".").context("cannot enter the root of a step")?;
    unmount(".", UnmountFlags::DETACH).context("cannot leave the machine's root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

fn make_devices(place: &Path) -> anyhow::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("dev", place, "tmpfs", flags, Some(c"mode=755"))?;
    for name in DEVICES {
        let outside = Path::new("/dev").join(name);
        if outside.exists() {
            let inside = place.join(name);
            fs::write(&inside, "")?;
            mount_bind(&outside, &inside).with_context(|| format!("/dev/{name}"))?;
        }
    }
    for (name, target) in DEVICE_LINKS {
        symlink(target, place.join(name))?;
    }
    fs::create_dir(place.join("shm"))?;
    Ok(())
}

/// Shows the processes of this namespace. Where that is forbidden, as in a container that hides
/// parts of its own `/proc`, shows the processes outside.
fn mount_proc(place: &Path) -> anyhow::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount("proc", place, "proc", flags, None).is_err() {
        mount_bind_recursive("/proc", place)?;
    }
    Ok(())
}

fn run_in_root(command: &StepCommand) -> anyhow::Result<ExitStatus> {
    umask(Mode::from_raw_mode(0o022));
    let Some((program, arguments)) = command.words.split_first() else {
        bail!("a step without a command");
    };
    std::env::set_current_dir(&command.directory)
        .with_context(|| format!("cannot start in {}", command.directory))?;
    let status = Command::new(program)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(command.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) => Ok(status),
        // The exit codes are those of a shell.
        Err(error) => {
            eprintln!("image: cannot execute {program}: {error}");
            let code = match error.kind() {
                io::ErrorKind::NotFound => 127,
                _ => 126,
            };
            std::process::exit(code)
        }
    }
}
