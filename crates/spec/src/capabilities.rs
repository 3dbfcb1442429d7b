//! Capabilities of files, which the attribute [`CAPABILITY_ATTRIBUTE`] holds.
//!
//! <https://man7.org/linux/man-pages/man7/capabilities.7.html>

use std::fmt;

/// The extended attribute that holds a file's capabilities.
pub const CAPABILITY_ATTRIBUTE: &str = "security.capability";

/// The names of all capabilities, each at its number (`linux/capability.h`).
pub const CAPABILITY_NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// The first four bytes of the attribute: a revision in the highest, and the bit that makes
/// permitted capabilities effective at once (`VFS_CAP_REVISION_1` to `_3`,
/// `VFS_CAP_FLAGS_EFFECTIVE`).
const REVISION_1: u32 = 0x0100_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const EFFECTIVE: u32 = 1;

/// The capabilities of a file. They print as getcap(8) prints them: `cap_net_bind_service=ep`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The capabilities of a process that runs the file, as a bit for each number.
    permitted: u64,
    /// The capabilities that the process keeps of those that its caller lets it inherit.
    inheritable: u64,
    /// Whether they are effective at once, without any action of the process.
    effective: bool,
    /// The user who is root where the capabilities count; 0 for the machine's own root.
    root: u32,
}

impl Capabilities {
    /// Returns permitted and effective capabilities, as `setcap NAMES=ep` gives them; `None` if a
    /// name is unknown.
    ///
    /// ```
    /// use crateyard_spec::Capabilities;
    ///
    /// let all = Capabilities::named(["cap_net_bind_service"]).unwrap();
    /// assert_eq!(Capabilities::read(&all.attribute()), Some(all));
    /// assert_eq!(all.to_string(), "cap_net_bind_service=ep");
    /// ```
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<Capabilities> {
        let bit = |name: &str| Some(1 << CAPABILITY_NAMES.iter().position(|it| *it == name)?);
        let bits: Option<Vec<u64>> = names.into_iter().map(bit).collect();
        Some(Capabilities {
            permitted: bits?.into_iter().fold(0, |all, one| all | one),
            effective: true,
            ..Capabilities::default()
        })
    }

    /// Returns the attribute's value: `struct vfs_cap_data` of `linux/capability.h`, little-endian.
    pub fn attribute(&self) -> Vec<u8> {
        let flags = if self.effective { EFFECTIVE } else { 0 };
        let revision = if self.root == 0 {
            REVISION_2
        } else {
            REVISION_3
        };
        let mut words = vec![revision | flags];
        for shift in [0, 32] {
            let half = |bits: u64| (bits >> shift) as u32;
            words.extend([half(self.permitted), half(self.inheritable)]);
        }
        words.extend(Some(self.root).filter(|root| *root != 0));
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Reads a value of the attribute; returns `None` if it is malformed.
    pub fn read(value: &[u8]) -> Option<Capabilities> {
        let words = value
            .chunks(4)
            .map(|word| Some(u32::from_le_bytes(word.try_into().ok()?)));
        let words: Vec<u32> = words.collect::<Option<_>>()?;
        let (magic, rest) = words.split_first()?;
        let (halves, root) = match (magic & !EFFECTIVE, rest) {
            (REVISION_1, [permitted, inheritable]) => ([*permitted, *inheritable, 0, 0], 0),
            (REVISION_2, [a, b, c, d]) => ([*a, *b, *c, *d], 0),
            (REVISION_3, [a, b, c, d, root]) => ([*a, *b, *c, *d], *root),
            _ => return None,
        };
        let whole = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        Some(Capabilities {
            permitted: whole(halves[0], halves[2]),
            inheritable: whole(halves[1], halves[3]),
            effective: magic & EFFECTIVE != 0,
            root,
        })
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (permitted, inheritable) = (self.permitted, self.inheritable);
        let groups = [
            (permitted & !inheritable, "p"),
            (permitted & inheritable, "ip"),
            (inheritable & !permitted, "i"),
        ];
        let mut separator = "";
        for (bits, flags) in groups.into_iter().filter(|(bits, _)| *bits != 0) {
            let numbers = (0..64).filter(|number| bits >> number & 1 == 1);
            let name = |number: usize| match CAPABILITY_NAMES.get(number) {
                Some(name) => (*name).to_owned(),
                // A capability of a later kernel.
                None => number.to_string(),
            };
            let names: Vec<String> = numbers.map(name).collect();
            let effective = if self.effective { "e" } else { "" };
            write!(f, "{separator}{}={effective}{flags}", names.join(","))?;
            separator = " ";
        }
        if separator.is_empty() {
            f.write_str("=")?;
        }
        match self.root {
            0 => Ok(()),
            root => write!(f, " [rootid={root}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_a_bit_of_the_right_word() {
        let net = Capabilities::named(["cap_net_bind_service"]).unwrap();
        let expected = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(net.attribute(), expected);
        let high = Capabilities::named(["cap_checkpoint_restore", "cap_chown"]).unwrap();
        let expected = [1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(high.attribute(), expected);
        assert_eq!(Capabilities::named(["cap_net_bind"]), None);
    }

    #[test]
    fn what_others_write_is_read_and_printed() {
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        for (value, printed) in [
            (&[REVISION_1 | 1, 1, 0][..], "cap_chown=ep"),
            (
                &[REVISION_2, 1 << 10, 3, 0, 0],
                "cap_net_bind_service=p cap_chown,cap_dac_override=i",
            ),
            (&[REVISION_2 | 1, 1, 1, 1 << 10, 0], "42=ep cap_chown=eip"),
            (
                &[REVISION_3 | 1, 1 << 12, 0, 0, 0, 1000],
                "cap_net_admin=ep [rootid=1000]",
            ),
            (&[REVISION_2, 0, 0, 0, 0], "="),
        ] {
            let value = words(value);
            let read = Capabilities::read(&value).unwrap();
            assert_eq!(read.to_string(), printed);
            if value.len() > 12 {
                assert_eq!(read.attribute(), value, "{printed}");
            }
        }
        let cut = words(&[REVISION_2, 0, 0, 0]);
        for other in [&b""[..], b"\x01", &cut, &words(&[7 << 24, 0, 0, 0, 0])] {
            assert_eq!(Capabilities::read(other), None, "{other:?}");
        }
    }
}
