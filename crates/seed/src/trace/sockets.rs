//! Addresses of sockets. The tracer puts the path outside in the place of a path, and refuses
//! networks that the cell does not have.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as kernel;
use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;

use super::change::{After, Change, Outcome, Value};
use super::machine::{self, Registers};
use super::permission::{Access, permit};
use super::processes;
use super::program::field;
use super::{Tracer, failure};

/// The size of the longest path of a socket, with its zero byte.
const ADDRESS_OF_UNIX_SOCKET: usize = 108;
/// The size of `struct msghdr`.
const SIZE_OF_HEADER: usize = 56;
/// Families of addresses (socket(2)).
const AF_UNSPEC: u16 = 0;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// The size of `struct sockaddr_in`. The kernel refuses a shorter address.
const SIZE_OF_IPV4: usize = 16;
/// The size of the oldest `struct sockaddr_in6` (RFC 2133). The kernel refuses a shorter address.
const SIZE_OF_IPV6: usize = 24;
/// Lists of sockets for datagrams over IPv4 in `/proc/PID/net`.
const DATAGRAM_SOCKETS: [&str; 2] = ["udp", "udplite"];
/// The column with the inode in these lists.
const INODE: usize = 9;

/// A call with an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Bind,
    Connect,
    Send,
}

/// Another address for a call, and the work at the call's end.
type Changed = (Vec<u8>, After);

impl Tracer {
    /// Returns the outcome of a call whose arguments `index` and `size` are a socket's address.
    pub(super) fn socket(
        &mut self,
        task: i32,
        registers: &Registers,
        index: usize,
        size: usize,
    ) -> Result<Outcome, Errno> {
        let address = (registers.argument(index), registers.argument(size) as u32);
        let purpose = match registers.number() {
            kernel::__NR_bind => Purpose::Bind,
            kernel::__NR_connect => Purpose::Connect,
            _ => Purpose::Send,
        };
        let Some((changed, after)) = self.address(task, registers, address, purpose)? else {
            return Ok(Outcome::Pass);
        };
        let length = Value::Number(changed.len() as u64);
        Ok(Outcome::Change(Change {
            arguments: vec![(index, Value::Bytes(changed)), (size, length)],
            after,
            ..Change::default()
        }))
    }

    /// Returns the outcome of sendmsg(2), whose address is in a `struct msghdr`.
    pub(super) fn message(&mut self, task: i32, registers: &Registers) -> Result<Outcome, Errno> {
        let header = machine::read(task, registers.argument(1), SIZE_OF_HEADER);
        let Some(header) = header.ok().filter(|header| header.len() == SIZE_OF_HEADER) else {
            // The kernel has an error for it.
            return Ok(Outcome::Pass);
        };
        let number = |at, size| field(&header, at, size).unwrap_or(0);
        let address = (number(0, 8), number(8, 4) as u32);
        let changed = self.address(task, registers, address, Purpose::Send)?;
        let Some((name, after)) = changed else {
            return Ok(Outcome::Pass);
        };
        Ok(Outcome::Change(Change {
            arguments: vec![(1, Value::Message { header, name })],
            after,
            ..Change::default()
        }))
    }

    /// Returns the address that a call gets in the place of its own, if it gets another.
    ///
    /// # Errors
    /// `ENETUNREACH` for an address that the cell does not reach, and the kernel's errors for a
    /// path.
    fn address(
        &mut self,
        task: i32,
        registers: &Registers,
        (address, length): (u64, u32),
        purpose: Purpose,
    ) -> Result<Option<Changed>, Errno> {
        if address == 0 || length < 2 {
            return Ok(None);
        }
        let bytes = machine::read(task, address, (length as usize).min(128))?;
        if bytes.len() < 2 {
            return Err(Errno::FAULT);
        }
        if family(&bytes) == AF_UNIX {
            let changed = self.path_outside(task, &bytes, purpose)?;
            return Ok(changed.map(|changed| (changed, After::Nothing)));
        }
        if purpose == Purpose::Bind || !self.no_network || !leads_out(&bytes) {
            return Ok(None);
        }
        match (family(&bytes), purpose) {
            // connect(2) then gives up the present address, and reaches nothing.
            (AF_UNSPEC, Purpose::Connect) => Ok(None),
            // Sockets for datagrams over IPv4 take this for an address of IPv4. All others take it
            // for no address, or refuse it. The call gets the family alone, which means the same to
            // the others. Sockets of the first kind refuse it as too short, and `refusal` gives
            // them the error of a machine without a network.
            (AF_UNSPEC, _) => {
                let socket = registers.argument(0);
                let after = After::Refusal { socket };
                Ok(Some((AF_UNSPEC.to_ne_bytes().to_vec(), after)))
            }
            _ => Err(Errno::NETUNREACH),
        }
    }

    /// Returns the address outside of a socket with a path.
    fn path_outside(
        &mut self,
        task: i32,
        address: &[u8],
        purpose: Purpose,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let path = address[2..].split(|&byte| byte == 0).next().unwrap_or(b"");
        if path.is_empty() {
            return Ok(None);
        }
        let base = self.directory(task, None)?;
        let place = self.resolve(task, &base, path, true)?;
        if purpose == Purpose::Bind {
            permit(Access::Makes, &place, self.identity.outer)?;
        }
        let mut changed = AF_UNIX.to_ne_bytes().to_vec();
        changed.extend(place.host);
        if changed.len() - 2 >= ADDRESS_OF_UNIX_SOCKET {
            return Err(Errno::NAMETOOLONG);
        }
        changed.push(0);
        Ok(Some(changed))
    }
}

/// Returns another result for a call that got the family `AF_UNSPEC` alone, if it needs one.
///
/// A socket for datagrams over IPv4 says `EINVAL` to the short address. With the whole one and
/// without a network it says `ENETUNREACH`. By then the kernel has bound the socket and lists it.
pub(super) fn refusal(task: i32, socket: u64, result: i64) -> Option<i64> {
    let is_refused = result == failure(Errno::INVAL) && sends_over_ipv4(task, socket);
    is_refused.then(|| failure(Errno::NETUNREACH))
}

/// Whether an open file is a bound socket for datagrams over IPv4.
fn sends_over_ipv4(task: i32, socket: u64) -> bool {
    let link = format!("/proc/{task}/fd/{}", socket as i32);
    let Ok(link) = readlinkat(CWD, link.as_str(), Vec::new()) else {
        return false;
    };
    let inode = link.as_bytes().strip_prefix(b"socket:[");
    let Some(inode) = inode.and_then(|inode| inode.strip_suffix(b"]")) else {
        return false;
    };
    DATAGRAM_SOCKETS.iter().any(|list| {
        let list = processes::whole(format!("/proc/{task}/net/{list}").as_bytes());
        let list = list.unwrap_or_default();
        let mut lines = list.split(|&byte| byte == b'\n');
        lines.any(|line| {
            let columns = line.split(u8::is_ascii_whitespace);
            let mut columns = columns.filter(|column| !column.is_empty());
            columns.nth(INODE) == Some(inode)
        })
    })
}

fn family(address: &[u8]) -> u16 {
    u16::from_ne_bytes([address[0], address[1]])
}

/// Whether an address is one of a network, and not of this machine's own loopback. The kernel
/// refuses addresses that are too short, and datagrams of no family to port 0.
fn leads_out(address: &[u8]) -> bool {
    match family(address) {
        AF_INET => address.len() >= SIZE_OF_IPV4 && !is_local_ipv4(address),
        AF_UNSPEC => {
            let has_port = address.get(2..4).is_some_and(|port| port != [0, 0]);
            address.len() >= SIZE_OF_IPV4 && has_port && !is_local_ipv4(address)
        }
        AF_INET6 => address.len() >= SIZE_OF_IPV6 && !is_local_ipv6(address),
        _ => false,
    }
}

fn is_local_ipv4(address: &[u8]) -> bool {
    matches!(address.get(4..8), Some([127, ..] | [0, 0, 0, 0]))
}

fn is_local_ipv6(address: &[u8]) -> bool {
    match address.get(8..24) {
        Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, rest @ ..]) => {
            matches!(rest, [0, 0, 0, 0, 0, 0 | 1] | [0xff, 0xff, 127, ..])
        }
        _ => false,
    }
}
