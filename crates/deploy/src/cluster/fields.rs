//! Finds the part of an object that a field manager applied.
//!
//! For each manager, the server keeps the set of fields that the manager owns (`FieldsV1`), and the
//! object has the values of these fields. Together they show the object as the manager applied it
//! last.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/>

use serde_json::{Map, Value};

use super::MANAGER;

/// Returns the fields that this manager applied to an object last, or `None` if it applied nothing.
pub(super) fn applied(object: &Value) -> Option<Value> {
    let entry = entry(object)?;
    let mut applied = project(object, &entry["fieldsV1"]);
    for name in ["apiVersion", "kind"] {
        applied[name] = object[name].clone();
    }
    for name in ["name", "namespace"] {
        if !object["metadata"][name].is_null() {
            applied["metadata"][name] = object["metadata"][name].clone();
        }
    }
    Some(applied)
}

/// Returns the time when this manager last applied something, as the server recorded it (RFC 3339).
pub(super) fn time(object: &Value) -> Option<&str> {
    entry(object)?["time"].as_str()
}

fn entry(object: &Value) -> Option<&Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let is_own = |entry: &&Value| {
        entry["manager"] == MANAGER
            && entry["operation"] == "Apply"
            && entry["subresource"].is_null()
    };
    entries.iter().find(is_own)
}

/// Returns the part of a value that a set of fields covers.
fn project(value: &Value, fields: &Value) -> Value {
    let Some(fields) = fields.as_object().filter(|fields| !fields.is_empty()) else {
        return value.clone();
    };
    match value {
        Value::Object(object) => {
            let mut result = Map::new();
            for (name, below) in fields {
                let Some(name) = name.strip_prefix("f:") else {
                    continue;
                };
                if let Some(value) = object.get(name) {
                    result.insert(name.to_owned(), project(value, below));
                }
            }
            Value::Object(result)
        }
        Value::Array(elements) => {
            let element = |(number, value): (usize, &Value)| {
                let below = fields.iter().find(|(key, _)| selects(key, number, value));
                below.map(|(_, below)| project(value, below))
            };
            Value::Array(elements.iter().enumerate().filter_map(element).collect())
        }
        other => other.clone(),
    }
}

/// Whether a key of a set refers to an element of a list: by the element's keys, its value, or its
/// index.
fn selects(key: &str, number: usize, element: &Value) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let Some(keys) = key.strip_prefix("k:").and_then(parse) {
        let Some(keys) = keys.as_object() else {
            return false;
        };
        return keys.iter().all(|(name, value)| element[name] == *value);
    }
    if let Some(value) = key.strip_prefix("v:").and_then(parse) {
        return *element == value;
    }
    key.strip_prefix("i:") == Some(number.to_string().as_str())
}

/// Returns the part of an object that has the same fields as another object. Elements of lists are
/// matched by name. An element without a match is taken whole.
pub(super) fn shaped(object: &Value, like: &Value) -> Value {
    match (object, like) {
        (Value::Object(object), Value::Object(like)) => {
            let fields = like.iter().filter_map(|(name, like)| {
                let value = object.get(name)?;
                Some((name.clone(), shaped(value, like)))
            });
            Value::Object(fields.collect())
        }
        (Value::Array(elements), Value::Array(like)) => {
            let element = |value: &Value| {
                let named =
                    |other: &&Value| !value["name"].is_null() && other["name"] == value["name"];
                match like.iter().find(named) {
                    Some(like) => shaped(value, like),
                    None => value.clone(),
                }
            };
            Value::Array(elements.iter().map(element).collect())
        }
        _ => object.clone(),
    }
}
