//! Addresses of sockets: a path is another one outside, and a network may be out of reach.

use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as kernel;
use rustix::io::Errno;

use super::Tracer;
use super::change::{Change, Outcome, Value};
use super::machine::{self, Registers};
use super::permission::{Access, permit};
use super::program::field;

/// As many bytes as the path of a socket has at most, with its zero byte.
const ADDRESS_OF_UNIX_SOCKET: usize = 108;
/// The size of `struct msghdr`.
const SIZE_OF_HEADER: usize = 56;
/// Families of addresses (socket(2)).
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

impl Tracer {
    /// A call with a socket's address.
    pub(super) fn socket(
        &mut self,
        task: i32,
        registers: &Registers,
        index: usize,
        size: usize,
    ) -> Result<Outcome, Errno> {
        let address = registers.argument(index);
        let length = registers.argument(size) as u32;
        let is_bind = registers.number() == kernel::__NR_bind;
        let Some(changed) = self.address(task, (address, length), is_bind)? else {
            return Ok(Outcome::Pass);
        };
        let length = Value::Number(changed.len() as u64);
        Ok(Outcome::Change(Change {
            arguments: vec![(index, Value::Bytes(changed)), (size, length)],
            ..Change::default()
        }))
    }

    /// sendmsg(2): the address is in a `struct msghdr`.
    pub(super) fn message(&mut self, task: i32, registers: &Registers) -> Result<Outcome, Errno> {
        let header = machine::read(task, registers.argument(1), SIZE_OF_HEADER);
        let Some(header) = header.ok().filter(|header| header.len() == SIZE_OF_HEADER) else {
            // The kernel has an error for it.
            return Ok(Outcome::Pass);
        };
        let number = |at, size| field(&header, at, size).unwrap_or(0);
        let address = (number(0, 8), number(8, 4) as u32);
        let Some(name) = self.address(task, address, false)? else {
            return Ok(Outcome::Pass);
        };
        Ok(Outcome::Change(Change {
            arguments: vec![(1, Value::Message { header, name })],
            ..Change::default()
        }))
    }

    /// What a process needs in the place of a socket's address, if it is another one: the path
    /// outside.
    fn address(
        &mut self,
        task: i32,
        (address, length): (u64, u32),
        is_bind: bool,
    ) -> Result<Option<Vec<u8>>, Errno> {
        if address == 0 || length < 2 {
            return Ok(None);
        }
        let bytes = machine::read(task, address, (length as usize).min(128))?;
        if bytes.len() < 2 {
            return Err(Errno::FAULT);
        }
        if family(&bytes) != AF_UNIX {
            let is_reachable = is_bind || !self.no_network || is_local(&bytes);
            return if is_reachable {
                Ok(None)
            } else {
                Err(Errno::NETUNREACH)
            };
        }
        let path = bytes[2..].split(|&byte| byte == 0).next().unwrap_or(b"");
        if path.is_empty() {
            return Ok(None);
        }
        let base = self.directory(task, None)?;
        let place = self.resolve(task, &base, path, true)?;
        if is_bind {
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

fn family(address: &[u8]) -> u16 {
    u16::from_ne_bytes([address[0], address[1]])
}

/// Whether an address is this machine's own loopback, or none of a network.
fn is_local(address: &[u8]) -> bool {
    match family(address) {
        AF_INET => matches!(address.get(4..8), Some([127, ..] | [0, 0, 0, 0])),
        AF_INET6 => match address.get(8..24) {
            Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, rest @ ..]) => {
                matches!(rest, [0, 0, 0, 0, 0, 0 | 1] | [0xff, 0xff, 127, ..])
            }
            _ => false,
        },
        _ => true,
    }
}
