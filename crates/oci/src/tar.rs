//! Tar streams in the form of layers: POSIX `ustar`, with PAX records for values that `ustar` can't
//! hold.
//!
//! [`Writer`] writes them deterministically. [`Reader`] reads them, and GNU's and older dialects,
//! with bounded memory.

mod header;
mod overrides;
mod pax;
mod reader;
mod writer;

pub use reader::{Entry, Reader, TarError};
pub use writer::{Header, Writer, entry_length};

/// The size of a header. Content is padded to a multiple of it.
pub const BLOCK: usize = 512;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of a file that came earlier.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// Any other kind, by its type byte.
    Other(u8),
}

impl Kind {
    fn from_byte(byte: u8) -> Kind {
        match byte {
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::CharacterDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
            Kind::Other(byte) => byte,
        }
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
