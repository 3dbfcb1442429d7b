//! Standard output and standard error.
//!
//! The functions that name these streams are unsafe if `rustix` is built without the standard
//! library, as in the seed. They are safe if it is built with it, as in the workspace's tests.
#![allow(unused_unsafe)]

use rustix::io::{Errno, write};
use rustix::stdio::{stderr, stdout};

/// Writes all of `text` to standard output.
///
/// # Errors
/// The error number of the write that failed.
pub fn print(mut text: &[u8]) -> Result<(), Errno> {
    while !text.is_empty() {
        // SAFETY: the program never closes its standard streams.
        match write(unsafe { stdout() }, text) {
            Ok(written) => text = &text[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes `text` to standard error. Ignores a failure, because nobody is there to be told.
pub fn error(text: &[u8]) {
    // SAFETY: the program never closes its standard streams.
    let _ = write(unsafe { stderr() }, text);
}
