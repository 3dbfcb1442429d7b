//! A container with an engine's defaults: few capabilities, and a filter that forbids namespaces
//! and mounts.

use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The capabilities of root in a container of `docker run`.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// System calls that Docker's default profile refuses with these capabilities, of those that could
/// help to isolate a process. <https://docs.docker.com/engine/security/seccomp/>
const REFUSED: [&str; 21] = [
    "bpf",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "keyctl",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "quotactl",
    "setdomainname",
    "sethostname",
    "setns",
    "umount",
    "umount2",
    "unshare",
    "userfaultfd",
];

/// The flags of clone(2) for namespaces: mount, control group, UTS, IPC, user, process, network.
const NEW_NAMESPACES: [u64; 7] = [
    0x0002_0000,
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
];

/// clone3(2) does not exist in such a container, because a filter can't see its flags.
const ENOSYS: u32 = 38;

/// Writes a bundle for runc to a place, and returns the command that runs another command in it as
/// a user. The container has the machine's programs, and the place's store.
///
/// # Errors
/// When the files can't be written.
pub fn command(place: &Path, user: u32, command: &[String]) -> Result<Vec<String>> {
    let root = place.join("rootfs");
    for directory in [
        "dev",
        "etc",
        "nix/store",
        "nix/var",
        "proc",
        "sys",
        "tmp",
        "usr",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(name)) {
            symlink(target, root.join(name))?;
        }
    }
    let config = configuration(place, user, command);
    fs::write(place.join("config.json"), config.to_string())?;
    let at = place.to_string_lossy().into_owned();
    let name = format!("crateyard-place-{}-{user}", std::process::id());
    Ok(["runc", "run", "--bundle", &at, &name]
        .map(str::to_owned)
        .into())
}

fn configuration(place: &Path, user: u32, command: &[String]) -> Value {
    let own = if user == 0 { &CAPABILITIES[..] } else { &[] };
    let at = place.to_string_lossy();
    let home = format!("{at}/home");
    let settings = std::env::var("NIX_CONFIG").unwrap_or_default();
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": false },
        "process": {
            "terminal": false,
            "user": { "uid": user, "gid": user },
            "cwd": "/",
            "args": command,
            "env": [
                "PATH=/usr/bin:/usr/sbin",
                "NIX_REMOTE=local",
                "USER=nonroot",
                format!("HOME={home}"),
                format!("TMPDIR={home}"),
                format!("NIX_CONFIG={}build-users-group =\n{settings}", crate::nix::SETTINGS),
            ],
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": own,
                "permitted": own,
            },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64m"],
            },
            bind("/usr", "/usr", true),
            bind(&at, &at, false),
            bind(&format!("{at}/store"), "/nix/store", false),
            bind(&format!("{at}/var"), "/nix/var", false),
        ],
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
            "seccomp": filter(),
        },
    })
}

fn bind(source: &str, destination: &str, is_read_only: bool) -> Value {
    let access = if is_read_only { "ro" } else { "rw" };
    json!({
        "destination": destination,
        "type": "bind",
        "source": source,
        "options": ["rbind", access],
    })
}

fn filter() -> Value {
    let mut calls = vec![
        json!({ "names": REFUSED, "action": "SCMP_ACT_ERRNO" }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
    ];
    calls.extend(NEW_NAMESPACES.map(|flag| {
        json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{ "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ" }],
        })
    }));
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls })
}
