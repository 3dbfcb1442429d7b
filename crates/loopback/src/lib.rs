//! The loopback interface of a new network namespace.
//!
//! The kernel makes the interface with the namespace and leaves it switched off. The seed's cells
//! and the steps of images switch it on, so that programs in them reach servers that they start
//! themselves. The process that made the namespace calls:
//!
//! ```no_run
//! crateyard_loopback::switch_on();
//! ```
#![no_std]

use core::ffi::c_void;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use rustix::net::{AddressFamily, SocketType, socket};

/// The part of `struct ifreq` (netdevice(7)) that sets flags.
#[repr(C)]
struct SetFlags {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const SIOCSIFFLAGS: Opcode = 0x8914;
const IFF_UP: u16 = 1;

// SAFETY: the kernel reads a `struct ifreq` of this size and layout for this opcode, and writes
// nothing.
unsafe impl Ioctl for SetFlags {
    type Output = ();
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        SIOCSIFFLAGS
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<(), Errno> {
        Ok(())
    }
}

/// Switches on the loopback interface of this process's network namespace. The process needs
/// `CAP_NET_ADMIN` there, as the maker of a user and network namespace has it.
///
/// The function ignores a failure: programs that do not use the interface run without it.
pub fn switch_on() {
    let mut request = SetFlags {
        name: [0; 16],
        flags: IFF_UP,
        rest: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    if let Ok(socket) = socket(AddressFamily::INET, SocketType::DGRAM, None) {
        // SAFETY: the request has the opcode that its structure belongs to.
        let _ = unsafe { ioctl(&socket, request) };
    }
}
