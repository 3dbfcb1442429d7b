//! What an object was before the last deployment, kept in an annotation of its own.
//!
//! So any machine that reaches the cluster can roll back, and nothing has to be kept elsewhere.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fields;

/// The annotation.
pub const ANNOTATION: &str = "crateyard.dev/previous";
/// The largest record, in bytes. The server takes 256 KiB for all annotations of an object.
const MAX_RECORD: usize = 200 << 10;

/// What the annotation holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which deployment wrote it: the same for all objects that it changed.
    pub deployment: String,
    /// What was applied before. None for an object that it created, for secrets, and for what is too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Value>,
}

impl Record {
    /// That of an object.
    pub fn of(object: &Value) -> Option<Record> {
        let text = object["metadata"]["annotations"][ANNOTATION].as_str()?;
        serde_json::from_str(text).ok()
    }
}

/// What is wanted with the record that the object has, so that comparing the two does not find it missing.
pub fn with_kept(mut wanted: Value, live: &Value) -> Value {
    let kept = &live["metadata"]["annotations"][ANNOTATION];
    if kept.is_string() {
        wanted["metadata"]["annotations"][ANNOTATION] = kept.clone();
    }
    wanted
}

/// What is wanted with a record of what was there.
pub fn with_record(mut wanted: Value, live: Option<&Value>, deployment: &str) -> Value {
    let record = |previous| {
        let deployment = deployment.to_owned();
        json!(Record {
            deployment,
            previous
        })
        .to_string()
    };
    // A secret's values belong in no annotation.
    let live = live.filter(|_| wanted["kind"] != "Secret");
    let text = record(live.map(|live| previous(live, &wanted)));
    let text = match text.len() > MAX_RECORD {
        true => record(None),
        false => text,
    };
    wanted["metadata"]["annotations"][ANNOTATION] = text.into();
    wanted
}

/// What was applied before or, where another manager did, what the object says of the fields that are applied now.
fn previous(live: &Value, wanted: &Value) -> Value {
    let mut previous = fields::applied(live).unwrap_or_else(|| fields::shaped(live, wanted));
    if let Some(metadata) = previous["metadata"].as_object_mut() {
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
    previous
}
