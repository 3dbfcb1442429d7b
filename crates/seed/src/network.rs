//! The loopback interface of a new network namespace.

use core::ffi::c_void;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use rustix::net::{AddressFamily, SocketType, socket};

/// `struct ifreq` (netdevice(7)) as far as flags are concerned.
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

/// Switches the loopback interface on. Programs that do not need it run without it, too: a failure
/// is no error.
pub(crate) fn loopback_up() {
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
