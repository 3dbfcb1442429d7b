//! Tests which kinds of isolation the system permits. `docs/privileges.md` says what each kind
//! isolates.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crateyard_terminal::note;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The unprivileged user that Nix builders become if root starts them and there are build users.
const NOBODY: u32 = 65534;

/// Tests as a Nix builder whether a namespace cell works: a user namespace, and mounts in it.
///
/// # Errors
/// The system's refusal.
pub fn namespaces() -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    try_namespaces(is_root && has_build_users())
}

/// Tests whether Nix's sandbox works if this user runs Nix without a daemon. It needs the same as a
/// namespace cell.
///
/// # Errors
/// The system's refusal.
pub fn sandbox() -> io::Result<()> {
    try_namespaces(false)
}

fn try_namespaces(as_nobody: bool) -> io::Result<()> {
    try_in_child(move || {
        if as_nobody {
            // SAFETY: these calls change only this process.
            unsafe {
                succeeded(libc::setgid(NOBODY))?;
                succeeded(libc::setuid(NOBODY))?;
            }
        }
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
        // SAFETY: the process has one thread.
        unsafe { unshare_unsafe(flags) }?;
        // If root becomes another user, the process may not write its own files in /proc until it
        // executes a program. SAFETY: the call changes only this process.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
        std::fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private)?;
        Ok(mount("probe", "/tmp", "tmpfs", MountFlags::empty(), c"")?)
    })
}

/// Tries to trace a process. A cell without namespaces needs this.
///
/// # Errors
/// The system's refusal.
pub fn tracing() -> io::Result<()> {
    try_in_child(|| {
        // SAFETY: this call changes only this process.
        let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        succeeded(traced as libc::c_int)
    })
}

/// Runs a function in a child process, which then exits. The child executes no program, because it
/// may have become a user who cannot read this program.
fn try_in_child(
    mut attempt: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    let attempt = move || {
        attempt()?;
        // SAFETY: the call ends the child, without running the parent's exit handlers.
        unsafe { libc::_exit(0) }
    };
    // SAFETY: between fork and exit there are only system calls and small allocations, and this
    // program has no other thread that could hold the allocator's lock for long.
    unsafe { command.pre_exec(attempt) };
    command.spawn()?.wait().map(drop)
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether Nix has build users.
fn has_build_users() -> bool {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    groups
        .lines()
        .filter_map(|line| line.strip_prefix("nixbld:"))
        .any(|rest| !rest.ends_with(':'))
}

/// Returns the setting that forbids namespaces, and the command that changes it.
pub fn remedy() -> (&'static str, &'static str) {
    let is = |path: &str, value: &str| {
        std::fs::read_to_string(Path::new("/proc/sys").join(path))
            .is_ok_and(|text| text.trim() == value)
    };
    if is("user/max_user_namespaces", "0") {
        return (
            "user.max_user_namespaces is 0",
            "sysctl -w user.max_user_namespaces=15000",
        );
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        return (
            "kernel.unprivileged_userns_clone is 0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return (
            "AppArmor forbids them to programs without a profile",
            "install -m 644 nix/apparmor/crateyard /etc/apparmor.d/ && apparmor_parser -r \
             /etc/apparmor.d/crateyard",
        );
    }
    (
        "a container's profile forbids them",
        "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …",
    )
}

/// Warns once per build if programs are less isolated here than elsewhere.
pub fn say_less_isolated() {
    if let Err(error) = namespaces() {
        note!(
            "this system forbids namespaces ({error}): units are traced instead, which is slower \
             and isolates less; `assemble doctor` says more"
        );
    }
}
