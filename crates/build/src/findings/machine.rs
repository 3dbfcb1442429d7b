//! Checks the machine: permissions of builds, memory, and free space.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crateyard_flake::isolation;
use indicatif::HumanBytes;
use rustix::fs::statvfs;

use super::Finding;

/// The space for a toolchain and the units of a small service, in bytes.
const LITTLE_DISK: u64 = 5 << 30;
/// The space that a toolchain alone needs, in bytes.
const NO_DISK: u64 = 1 << 30;
/// Docker's default size of /dev/shm, in bytes. Larger sources are then kept on disk.
const LITTLE_MEMORY: u64 = 64 << 20;
/// 2025-01-01. Certificates of registries are newer than this.
const LONG_AGO: u64 = 1_735_689_600;

pub(crate) fn findings() -> Vec<Finding> {
    let namespaces = isolation::namespaces();
    let mut all = Vec::new();
    if let Err(error) = &namespaces {
        all.extend(without_namespaces(error));
    } else {
        all.push(Finding::ok("namespaces", "cells have their own"));
    }
    all.push(disk());
    all.push(clock());
    all
}

/// Runs the checks that matter only if units are traced.
fn without_namespaces(error: &std::io::Error) -> Vec<Finding> {
    let (who, mend) = isolation::remedy();
    let found = format!("refused ({error}): {who}");
    let Err(refused) = isolation::tracing() else {
        return vec![
            Finding::warning(
                "namespaces",
                found,
                "units are traced: a C compiler's small calls take about four times as long, and \
                 less is isolated (docs/privileges.md)",
                mend,
            ),
            Finding::ok("tracing", "allowed"),
            shared_memory(),
        ];
    };
    vec![
        Finding::warning("namespaces", found, "units must be traced", mend),
        Finding::error(
            "tracing",
            format!("refused ({refused})"),
            "there is no way into a cell: no unit is built",
            allowing_ptrace(),
        ),
    ]
}

/// Returns the command that allows ptrace. Yama's strictest setting stays until the machine
/// restarts.
/// <https://docs.kernel.org/admin-guide/LSM/Yama.html>
fn allowing_ptrace() -> &'static str {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim() {
        "3" => "boot with kernel.yama.ptrace_scope=1: nothing lowers 3 while the machine runs",
        "2" => "sysctl -w kernel.yama.ptrace_scope=1",
        _ => "use a profile of the container that allows ptrace",
    }
}

fn shared_memory() -> Finding {
    match free(Path::new("/dev/shm")) {
        Some(bytes) if bytes >= LITTLE_MEMORY => {
            Finding::ok("memory", format!("{} in /dev/shm", HumanBytes(bytes)))
        }
        bytes => Finding::warning(
            "memory",
            format!("{} in /dev/shm", HumanBytes(bytes.unwrap_or(0))),
            "large sources are kept on disk: a build script that records the order of files may \
             give other bytes",
            "docker run --shm-size=1g …",
        ),
    }
}

fn disk() -> Finding {
    let store = Path::new("/nix/store");
    let place = if store.exists() {
        store
    } else {
        Path::new("/")
    };
    let bytes = free(place).unwrap_or(0);
    let found = format!("{} free for {}", HumanBytes(bytes), place.display());
    let mend = "nix-collect-garbage, or a larger disk";
    match bytes {
        LITTLE_DISK.. => Finding::ok("disk", found),
        NO_DISK.. => Finding::warning(
            "disk",
            found,
            "a larger build may fill the disk and fail",
            mend,
        ),
        _ => Finding::error("disk", found, "the toolchain alone needs more", mend),
    }
}

fn free(place: &Path) -> Option<u64> {
    let status = statvfs(place).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

fn clock() -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |since| since.as_secs());
    if seconds < LONG_AGO {
        return Finding::error(
            "clock",
            format!("it is {seconds} seconds after 1970"),
            "no certificate is valid: nothing can be fetched or pushed",
            "timedatectl set-ntp true",
        );
    }
    Finding::ok("clock", "plausible")
}
