//! What the stand-ins for key management services share.

use std::sync::{Arc, Mutex};

/// A fault in the answers to requests for a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Another key signs.
    OtherKey,
    /// Another digest is signed: it arrived with another bit, or was hashed once more.
    OtherDigest,
    /// Another version of the key signs.
    OtherVersion,
    /// The signature is damaged on its way.
    Damaged,
}

/// The fault that a running service has at the moment.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Fault>>);

impl Faults {
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.lock().unwrap() = fault;
    }

    pub(crate) fn now(&self) -> Fault {
        *self.0.lock().unwrap()
    }
}
