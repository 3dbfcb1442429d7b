//! What a cluster runs, beside what it would run.
//!
//! Objects are JSON as `kubectl` prints it. Nothing of their values is shown but references of images: an object may be
//! a secret.

mod differences;
mod fields;
mod object;
mod record;
mod rollback;

use serde_json::Value;

pub use differences::ImageChange;
pub use object::{Key, list, objects};
pub use record::{ANNOTATION, with_kept, with_record};
pub use rollback::{Restored, rollback};

/// The field manager that owns what is applied here.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
pub const MANAGER: &str = "crateyard";

/// What is to be done with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not there.
    Create,
    /// It would be another one.
    Update {
        /// The images of its containers that would be others.
        images: Vec<ImageChange>,
        /// The paths of all other fields that would differ.
        fields: Vec<String>,
    },
    /// It is as it is to be.
    None,
}

/// An object, and what is to be done with it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which.
    pub key: Key,
    /// What is to be done.
    pub change: Change,
    /// What is to be applied.
    pub wanted: Value,
    /// What the cluster has.
    pub live: Option<Value>,
}

/// Compares what is wanted with what is there, and with what would be there (`kubectl apply --dry-run=server`).
pub fn plan(wanted: Vec<Value>, live: &[Value], would: &[Value]) -> Vec<Step> {
    let find = |all: &[Value], key: &Key| {
        let found = all.iter().find(|one| Key::of(one).as_ref() == Some(key));
        found.cloned()
    };
    let step = |wanted: Value| {
        let key = Key::of(&wanted)?;
        let live = find(live, &key);
        let change = match (&live, find(would, &key)) {
            (None, _) => Change::Create,
            (Some(live), Some(would)) => differences::between(live, &would),
            (Some(_), None) => Change::None,
        };
        Some(Step {
            key,
            change,
            wanted,
            live,
        })
    };
    wanted.into_iter().filter_map(step).collect()
}
