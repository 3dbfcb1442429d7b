//! Compares the objects that a cluster runs with those that it would run.
//!
//! Objects are JSON as `kubectl` prints it. An object may be a secret, so image references are the
//! only values that are ever shown.

mod differences;
mod fields;
mod job;
mod object;
mod record;
mod rollback;
mod settled;

use std::collections::BTreeSet;

use serde_json::Value;

pub use differences::ImageChange;
pub use job::{is_finished, under_free_name};
pub use object::{Key, expect_once, in_order, list, objects, place};
pub use record::{ANNOTATION, with_kept, with_record};
pub use rollback::{Restored, rollback};

/// The field manager that owns the fields that Crateyard applies.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
pub const MANAGER: &str = "crateyard";

/// The action of a deployment on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Creates the object.
    Create,
    /// Changes the object.
    Update {
        /// The containers whose image would change.
        images: Vec<ImageChange>,
        /// The paths of all other fields that would change.
        fields: Vec<String>,
    },
    /// Leaves the object as it is.
    None,
}

/// An object, and the action of a deployment on it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The object's identity.
    pub key: Key,
    /// The action.
    pub change: Change,
    /// The object to apply.
    pub wanted: Value,
    /// The object that the cluster has.
    pub live: Option<Value>,
    /// Whether the cluster's object has to be deleted first, because the server refuses to change
    /// it.
    pub recreate: bool,
}

impl Step {
    /// Whether the object's rollout may still go on: the object was changed, or does not run as it
    /// should. Objects whose pods are replaced by hand have no rollout.
    pub fn rolls_out(&self) -> bool {
        let by_hand = self.wanted["spec"]["updateStrategy"]["type"] == "OnDelete";
        let live = self.live.as_ref().filter(|_| self.change == Change::None);
        self.key.rolls_out() && !by_hand && !live.is_some_and(settled::is_settled)
    }
}

/// Compares the wanted objects with the live ones, and with those that would result (`kubectl apply
/// --dry-run=server`). The server refuses to change those in `recreate`, so they have no result.
///
/// # Errors
/// When another live object has no result.
pub fn plan(
    wanted: Vec<Value>,
    live: &[Value],
    would: &[Value],
    recreate: &BTreeSet<Key>,
) -> Result<Vec<Step>, String> {
    let find = |all: &[Value], key: &Key| {
        let found = all.iter().find(|one| Key::of(one).as_ref() == Some(key));
        found.cloned()
    };
    let step = |wanted: Value| {
        let Some(key) = Key::of(&wanted) else {
            return Ok(None);
        };
        let live = find(live, &key);
        let recreate = recreate.contains(&key);
        let change = match (&live, find(would, &key)) {
            (None, _) => Change::Create,
            (Some(live), Some(would)) => differences::between(live, &would),
            (Some(live), None) if recreate => of_refused(live, &wanted),
            (Some(_), None) => {
                return Err(format!(
                    "the server does not say what {key} would be, so it can't be compared\n  \
                     try: the command again, or kubectl apply --server-side --dry-run=server"
                ));
            }
        };
        Ok(Some(Step {
            key,
            change,
            wanted,
            live,
            recreate,
        }))
    };
    wanted
        .into_iter()
        .filter_map(|wanted| step(wanted).transpose())
        .collect()
}

/// Compares a job with one that the server refuses to change it to. The server has not filled in
/// its defaults, so only the applied fields count. Because of the refusal, the two differ in any
/// case.
fn of_refused(live: &Value, wanted: &Value) -> Change {
    match differences::between(&record::previous(live, wanted), wanted) {
        Change::None => Change::Update {
            images: Vec::new(),
            fields: vec!["spec.template".to_owned()],
        },
        change => change,
    }
}
