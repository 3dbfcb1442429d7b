//! The errors of the seed, and their exit codes.

use alloc::format;
use alloc::string::String;
use core::fmt;

use rustix::io::Errno;

/// The reason why the seed stopped.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line is wrong (64, `EX_USAGE`).
    Usage(String),
    /// A package is damaged, or holds something that a root file system must not hold (65,
    /// `EX_DATAERR`).
    Package { package: String, reason: String },
    /// The system refused an operation on a file (74, `EX_IOERR`).
    Io { what: String, errno: Errno },
    /// The system forbids namespaces or mounts. Another way may be open.
    Forbidden(String),
    /// The cell could not be made (125, the code of env(1) for a failure of its own).
    Cell(String),
    /// The program is in the cell but cannot be executed (126).
    NotExecutable(String),
    /// The program is not in the cell (127).
    NotFound(String),
}

impl Error {
    /// Makes an input or output error. `what` reads after "cannot".
    pub(crate) fn io(what: impl Into<String>, errno: Errno) -> Self {
        Self::Io {
            what: what.into(),
            errno,
        }
    }

    /// Returns the exit code of the process.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Usage(_) => 64,
            Self::Package { .. } => 65,
            Self::Io { .. } => 74,
            Self::Cell(_) | Self::Forbidden(_) => 125,
            Self::NotExecutable(_) => 126,
            Self::NotFound(_) => 127,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(reason) => write!(out, "{reason}\nTry `seed --help`."),
            Self::Package { package, reason } => write!(out, "{package}: {reason}"),
            Self::Io { what, errno } => write!(out, "cannot {what}: {}", explain(*errno)),
            Self::Cell(reason)
            | Self::Forbidden(reason)
            | Self::NotExecutable(reason)
            | Self::NotFound(reason) => out.write_str(reason),
        }
    }
}

impl core::error::Error for Error {}

/// Returns a text for an error number that people meet, or the number.
pub(crate) fn explain(errno: Errno) -> String {
    let text = match errno {
        Errno::ACCESS => "permission denied",
        Errno::BUSY => "device or resource busy",
        Errno::DQUOT => "disk quota exceeded",
        Errno::EXIST => "it exists already",
        Errno::FBIG => "file too large",
        Errno::INVAL => "invalid argument",
        Errno::IO => "input/output error",
        Errno::ISDIR => "it is a directory",
        Errno::LOOP => "too many symbolic links",
        Errno::MFILE => "too many open files",
        Errno::NAMETOOLONG => "name too long",
        Errno::NODEV => "no such device",
        Errno::NOENT => "no such file or directory",
        Errno::NOEXEC => "not an executable format",
        Errno::NOMEM => "out of memory",
        Errno::NOSPC => "no space left",
        Errno::NOSYS => "not supported by this kernel",
        Errno::NOTDIR => "not a directory",
        Errno::NOTEMPTY => "directory not empty",
        Errno::OPNOTSUPP => "not supported",
        Errno::PERM => "operation not permitted",
        Errno::ROFS => "read-only file system",
        Errno::TOOBIG => "argument list too long",
        Errno::TXTBSY => "text file busy",
        _ => return format!("error number {}", errno.raw_os_error()),
    };
    text.into()
}

/// Returns bytes as text for a message, in quotes.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("`{}`", String::from_utf8_lossy(bytes))
}
