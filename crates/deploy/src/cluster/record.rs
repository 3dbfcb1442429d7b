//! Records the state of an object before the last deployment, in an annotation of the object.
//!
//! So any machine that reaches the cluster can roll back, and no other place has to keep the state.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fields;

/// The annotation's name.
pub const ANNOTATION: &str = "crateyard.dev/previous";
/// The largest record, in bytes. The server accepts 256 KiB for all annotations of an object.
const MAX_RECORD: usize = 200 << 10;

/// The content of the annotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The deployment that wrote the record. All objects that it changed have the same one.
    pub deployment: String,
    /// The object as it was applied before. `None` if the deployment created the object, if the
    /// object is a secret, or if it is too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Value>,
}

impl Record {
    /// Reads the record of an object.
    pub(super) fn of(object: &Value) -> Option<Record> {
        let text = object["metadata"]["annotations"][ANNOTATION].as_str()?;
        serde_json::from_str(text).ok()
    }
}

/// Copies the record of the current object to the wanted one, so that comparing the two finds no
/// difference there.
pub fn with_kept(mut wanted: Value, live: &Value) -> Value {
    let kept = &live["metadata"]["annotations"][ANNOTATION];
    if kept.is_string() {
        wanted["metadata"]["annotations"][ANNOTATION] = kept.clone();
    }
    wanted
}

/// Adds a record of the current object to the wanted one.
pub fn with_record(mut wanted: Value, live: Option<&Value>, deployment: &str) -> Value {
    let record = |previous| {
        let deployment = deployment.to_owned();
        json!(Record {
            deployment,
            previous
        })
        .to_string()
    };
    // An annotation must not hold a secret's values.
    let live = live.filter(|_| wanted["kind"] != "Secret");
    let text = record(live.map(|live| previous(live, &wanted)));
    let text = match text.len() > MAX_RECORD {
        true => record(None),
        false => text,
    };
    wanted["metadata"]["annotations"][ANNOTATION] = text.into();
    wanted
}

/// Returns the object as it was applied before. If another manager applied it, returns the current
/// values of the fields that are applied now.
pub(super) fn previous(live: &Value, wanted: &Value) -> Value {
    without_record(fields::applied(live).unwrap_or_else(|| fields::shaped(live, wanted)))
}

/// Removes the record from an object, and the annotations if there are no others.
pub(super) fn without_record(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let annotations = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut);
        let is_empty = annotations.is_some_and(|annotations| {
            annotations.remove(ANNOTATION);
            annotations.is_empty()
        });
        if is_empty {
            metadata.remove("annotations");
        }
    }
    object
}
