//! Back to before the last deployment.

use serde_json::Value;

use super::fields;
use super::object::Key;
use super::record::Record;

/// An object of the last deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// Which.
    pub key: Key,
    /// What the cluster has.
    pub live: Value,
    /// What it was; none where nobody kept that.
    pub previous: Option<Value>,
}

/// The objects that the last deployment changed, of those that are there. Empty where there was none.
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
