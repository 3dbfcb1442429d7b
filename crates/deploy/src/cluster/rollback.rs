//! Finds the state before the last deployment.

use serde_json::Value;

use super::fields;
use super::object::Key;
use super::record::Record;

/// An object of the last deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// The object's identity.
    pub key: Key,
    /// The object that the cluster has.
    pub live: Value,
    /// The object before the deployment; `None` if no record has it.
    pub previous: Option<Value>,
}

/// Returns the existing objects that the last deployment changed, or nothing if there was no
/// deployment.
pub fn rollback(live: &[Value]) -> Vec<Restored> {
    let recorded: Vec<(&Value, Record)> = live
        .iter()
        .filter_map(|object| Some((object, Record::of(object)?)))
        .collect();
    let last = recorded
        .iter()
        .max_by_key(|(object, _)| fields::time(object))
        .map(|(_, record)| record.deployment.clone());
    let of_last = recorded
        .into_iter()
        .filter(|(_, record)| Some(&record.deployment) == last.as_ref());
    of_last
        .filter_map(|(object, record)| {
            Some(Restored {
                key: Key::of(object)?,
                live: object.clone(),
                previous: record.previous,
            })
        })
        .collect()
}
