//! The fate of a file that a step added or altered.

/// The fate of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The file is in the layer.
    Kept,
    /// The file is not in the layer. It differs from build to build, and programs make it again if
    /// it is missing.
    LeftOut,
    /// The file can't be in an image. The text names its kind.
    Refused(&'static str),
}

/// Directories whose files are caches. Their subdirectories and links are kept, because programs
/// expect them.
const CACHES: [&str; 1] = ["var/cache"];
/// Directories whose files have times and process ids in them. An empty file has none.
const RECORDS: [&str; 2] = ["run", "var/log"];
/// Directories of which nothing is kept.
const SCRATCH: [&str; 1] = ["root/.cache"];
/// Files that must differ between machines.
const OF_THE_MACHINE: [&str; 3] = [
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
];

/// Returns a file's fate. `head` is the file's first bytes.
pub(super) fn of_file(path: &str, length: u64, head: &[u8]) -> Fate {
    let is_empty = length == 0;
    let is_below = |directories: &[&str]| directories.iter().any(|it| lies_below(path, it));
    if is_below(&SCRATCH) || is_below(&CACHES) || is_below(&RECORDS) && !is_empty {
        return Fate::LeftOut;
    }
    if OF_THE_MACHINE.contains(&path) && !is_empty && head != b"uninitialized\n" {
        return Fate::Refused(
            "the identity of one machine, which all containers would share: let the command empty \
             it",
        );
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if lies_below(path, "etc/ssh") && name.starts_with("ssh_host_") && name.ends_with("_key") {
        return Fate::Refused(
            "a private key, which all who have the image would share: let the command remove it",
        );
    }
    match name.ends_with(".pyc") && has_a_time(head) {
        true => Fate::LeftOut,
        false => Fate::Kept,
    }
}

/// Returns the fate of a directory or a link.
pub(super) fn of_other(path: &str) -> Fate {
    match SCRATCH.iter().any(|it| path == *it || lies_below(path, it)) {
        true => Fate::LeftOut,
        false => Fate::Kept,
    }
}

/// Returns the fate of a path that is neither a file, a directory nor a link.
pub(super) fn of_special(path: &str, what: &'static str) -> Fate {
    let places = CACHES.iter().chain(&RECORDS).chain(&SCRATCH);
    match places.into_iter().any(|it| lies_below(path, it)) {
        true => Fate::LeftOut,
        false => Fate::Refused(what),
    }
}

/// Whether a compiled Python module holds the time of its source and not its hash. Python makes
/// such a module again if the times differ. <https://peps.python.org/pep-0552/>
fn has_a_time(head: &[u8]) -> bool {
    head.get(4..8).is_some_and(|flags| flags[0] & 1 == 0)
}

fn lies_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_build_to_build_is_left_out() {
        for (path, length, head) in [
            ("var/cache/ldconfig/aux-cache", 9, &b"glibc-ld."[..]),
            ("var/cache/debconf/config.dat", 0, b""),
            ("var/log/dpkg.log", 5, b"2026-"),
            ("run/app.pid", 2, b"7\n"),
            ("root/.cache/pip/x", 1, b"x"),
            (
                "usr/lib/a/__pycache__/a.pyc",
                16,
                b"\xa7\r\r\n\0\0\0\0\x12\x34\x56\x78\0\0\0\0",
            ),
        ] {
            assert_eq!(of_file(path, length, head), Fate::LeftOut, "{path}");
        }
        assert_eq!(of_other("root/.cache"), Fate::LeftOut);
        assert_eq!(of_special("run/app.sock", "a socket"), Fate::LeftOut);
    }

    #[test]
    fn what_is_the_same_is_kept() {
        for (path, length, head) in [
            ("etc/ld.so.cache", 9, &b"glibc-ld."[..]),
            ("etc/machine-id", 0, b""),
            ("etc/machine-id", 14, b"uninitialized\n"),
            ("etc/ssh/ssh_host_ed25519_key.pub", 3, b"ssh"),
            ("var/log/lastlog", 0, b""),
            ("var/lib/app/cache", 1, b"x"),
            (
                "usr/lib/a/__pycache__/a.pyc",
                16,
                b"\xa7\r\r\n\x03\0\0\0\x12\x34\x56\x78\0\0\0\0",
            ),
        ] {
            assert_eq!(of_file(path, length, head), Fate::Kept, "{path}");
        }
        for path in ["var/log/nginx", "var/cache/app", "run/app"] {
            assert_eq!(of_other(path), Fate::Kept, "{path}");
        }
    }

    #[test]
    fn what_is_one_machines_own_is_refused() {
        for (path, head) in [
            ("etc/machine-id", &b"0123456789abcdef\n"[..]),
            ("var/lib/systemd/random-seed", b"\x17"),
            ("etc/ssh/ssh_host_ed25519_key", b"-----BEGIN"),
        ] {
            let fate = of_file(path, head.len() as u64, head);
            assert!(matches!(fate, Fate::Refused(_)), "{path}: {fate:?}");
        }
        let socket = of_special("srv/app.sock", "a socket");
        assert_eq!(socket, Fate::Refused("a socket"));
    }
}
