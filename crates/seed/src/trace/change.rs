//! Other system calls than those that a process is about to make.

use alloc::vec::Vec;

/// What a process does instead of its call.
pub(crate) enum Outcome {
    /// The call as it is.
    Pass,
    /// Nothing: this is the result.
    Answer(i64),
    /// The call with other arguments, or with something to do at its end.
    Change(Change),
}

/// Other arguments of a call.
#[derive(Default)]
pub(crate) struct Change {
    /// Index and value.
    pub(crate) arguments: Vec<(usize, Value)>,
    /// What is to be done at the call's end.
    pub(crate) after: After,
    /// The program that it starts, as the cell names it.
    pub(crate) program: Option<Vec<u8>>,
}

/// A value of an argument.
pub(crate) enum Value {
    Number(u64),
    /// The address of these bytes.
    Bytes(Vec<u8>),
    /// The address of an array of strings.
    Array(Vec<Entry>),
    /// The address of a `struct msghdr` (sendmsg(2)) with another address of a socket.
    Message {
        header: Vec<u8>,
        name: Vec<u8>,
    },
}

impl Value {
    /// The argument. What it points to is added to `bytes`, which will lie at the address `room`.
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
    /// One of the process, at this address.
    At(u64),
    String(Vec<u8>),
}

/// What is to be done at the end of a call.
#[derive(Default)]
pub(crate) enum After {
    #[default]
    Nothing,
    /// Ids in a `struct stat` are those in the cell.
    Status { address: u64 },
    /// The same in a `struct statx`.
    ExtendedStatus { address: u64 },
    /// The target of a link is a path outside.
    Target { address: u64, size: u64 },
    /// The machine has the cell's name.
    System { address: u64 },
}

impl Change {
    /// How many bytes its arguments take, at most.
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
