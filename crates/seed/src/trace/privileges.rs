//! Gives up the rights of root, so that files of the store are as read-only to a traced program as
//! to any other.

use linux_raw_sys::general as kernel;

use crate::sys::call6;

const PR_CAPBSET_DROP: usize = 24;
const PR_SET_SECUREBITS: usize = 28;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;
/// Makes root a user like any other, for good (`SECBIT_NOROOT` and its lock).
const NO_ROOT: usize = 0b11;
const CAPABILITIES: usize = 64;
const VERSION: u32 = 0x2008_0522;

/// Gives up all capabilities, and those that root would get by executing a program. If the system
/// forbids that, there are none to give up.
pub(crate) fn drop_all() {
    let control = |option, value| {
        // SAFETY: none of these options names memory.
        unsafe { call6(kernel::__NR_prctl as usize, [option, value, 0, 0, 0, 0]) }
    };
    control(PR_SET_SECUREBITS, NO_ROOT);
    for capability in 0..CAPABILITIES {
        control(PR_CAPBSET_DROP, capability);
    }
    control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
    // `struct __user_cap_header_struct` and two of `struct __user_cap_data_struct` (capget(2)).
    let header = [VERSION, 0];
    let none = [0_u32; 6];
    // SAFETY: the kernel reads a header of two words and, of this version, six words of
    // capabilities. Both live until the call returns, and the version in the header is a known one,
    // so nothing is written to it.
    unsafe {
        call6(
            kernel::__NR_capset as usize,
            [header.as_ptr() as usize, none.as_ptr() as usize, 0, 0, 0, 0],
        );
    }
}
