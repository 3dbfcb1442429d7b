//! Filters of system calls, as the profiles of containers set them (seccomp(2)).

use std::io;

/// Returns a filter that lets system calls fail with an error.
pub(crate) fn refusing(calls: &[libc::c_long], errno: i32) -> Vec<libc::sock_filter> {
    let step = |code: u32, value: u32, if_true: u8, if_false: u8| libc::sock_filter {
        code: code as u16,
        jt: if_true,
        jf: if_false,
        k: value,
    };
    // The number comes first in `struct seccomp_data`.
    let mut all = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in calls {
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        all.push(step(equal, *call as u32, 0, 1));
        let refused = libc::SECCOMP_RET_ERRNO | errno as u32;
        all.push(step(libc::BPF_RET | libc::BPF_K, refused, 0, 0));
    }
    all.push(step(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
        0,
        0,
    ));
    all
}

/// Sets a filter for this process and all processes that it starts.
pub(crate) fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel reads the filter, which has the given length.
    let is_set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0) == 0
    };
    is_set.then_some(()).ok_or_else(io::Error::last_os_error)
}
