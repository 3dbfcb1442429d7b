//! Changes of system calls that a process is about to make.

use alloc::vec::Vec;

/// The decision about a call.
pub(crate) enum Outcome {
    /// The process makes the call as it is.
    Pass,
    /// The process makes no call, and gets this result.
    Answer(i64),
    /// The process makes the call with other arguments, or the tracer has work at its end.
    Change(Change),
}

/// Other arguments of a call.
#[derive(Default)]
pub(crate) struct Change {
    /// Pairs of index and value.
    pub(crate) arguments: Vec<(usize, Value)>,
    /// The work at the call's end.
    pub(crate) after: After,
    /// The program that the call starts, by its path in the cell.
    pub(crate) program: Option<Vec<u8>>,
}

/// A value of an argument.
pub(crate) enum Value {
    Number(u64),
    /// The address of these bytes.
    Bytes(Vec<u8>),
    /// The address of an array of strings.
    Array(Vec<Entry>),
    /// The address of a `struct msghdr` (sendmsg(2)), with another address of a socket in it.
    Message {
        header: Vec<u8>,
        name: Vec<u8>,
    },
}

impl Value {
    /// Returns the argument. Adds the data that it points to to `bytes`, which will lie at the
    /// address `room`.
    pub(crate) fn place(self, room: u64, bytes: &mut Vec<u8>) -> u64 {
        let add = |bytes: &mut Vec<u8>, added: &[u8]| {
            let address = room + bytes.len() as u64;
            bytes.extend_from_slice(added);
            address
        };
        let align = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(8), 0);
        let address = match self {
            Self::Number(number) => number,
            Self::Bytes(value) => add(bytes, &value),
            Self::Array(entries) => {
                let mut pointers = Vec::new();
                for entry in entries {
                    pointers.extend(match entry {
                        Entry::At(address) => address.to_ne_bytes(),
                        Entry::String(string) => {
                            add(bytes, &[string.as_slice(), b"\0"].concat()).to_ne_bytes()
                        }
                    });
                }
                pointers.extend([0; 8]);
                align(bytes);
                add(bytes, &pointers)
            }
            Self::Message { mut header, name } => {
                let size = name.len() as u32;
                let name = add(bytes, &name);
                header[..8].copy_from_slice(&name.to_ne_bytes());
                header[8..12].copy_from_slice(&size.to_ne_bytes());
                align(bytes);
                add(bytes, &header)
            }
        };
        align(bytes);
        address
    }
}

/// A string in an array.
pub(crate) enum Entry {
    /// A string of the process, at this address.
    At(u64),
    String(Vec<u8>),
}

/// The work at the end of a call.
#[derive(Default)]
pub(crate) enum After {
    #[default]
    Nothing,
    /// Show the cell's ids in a `struct stat`.
    Status { address: u64 },
    /// Show the cell's ids in a `struct statx`.
    ExtendedStatus { address: u64 },
    /// Show the cell's path in the target of a link.
    Target { address: u64, size: u64 },
    /// Show the cell's name of the machine.
    System { address: u64 },
    /// Check an error of a call that got the family `AF_UNSPEC` and no more of an address.
    Refusal { socket: u64 },
}

impl Change {
    /// Returns the greatest number of bytes that the arguments may take.
    pub(crate) fn size(&self) -> usize {
        let sizes = self.arguments.iter().map(|(_, value)| match value {
            Value::Number(_) => 0,
            Value::Bytes(bytes) => bytes.len() + 8,
            Value::Message { header, name } => header.len() + name.len() + 16,
            Value::Array(entries) => entries.iter().fold(24, |size, entry| {
                size + 8
                    + match entry {
                        Entry::At(_) => 0,
                        Entry::String(string) => string.len() + 1,
                    }
            }),
        });
        sizes.sum()
    }
}
