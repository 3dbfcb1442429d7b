//! Processes of Nix: they do not outlive this one, and their messages are read.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Makes the kernel send `SIGTERM` to the child when the thread that starts it ends, for any
/// reason. Nix then stops its builders. Nix 2.8 does not notice by itself that its client is gone.
pub fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec, the closure makes only system calls that are safe in a signal
    // handler.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return Err(io::Error::last_os_error());
            }
            if libc::getppid() as u32 != parent {
                return Err(io::Error::other("the parent is gone"));
            }
            Ok(())
        });
    }
}

/// Puts the child into its own process group. So only this process gets an interrupt from the
/// terminal, and stops the child in an orderly way.
pub fn shield_from_terminal(command: &mut Command) {
    command.process_group(0);
}

/// Asks a child to end, and kills it if it does not.
pub fn stop(child: &mut Child, patience: Duration) {
    terminate(child);
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Asks a child to end.
pub fn terminate(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        // SAFETY: the child has not been waited for, so the process id is its own.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    }
}
