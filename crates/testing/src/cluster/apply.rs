//! Server-side apply: each manager owns the fields that it applied last, and leaves the fields of
//! others alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// The path to a field: steps of `FieldsV1`, such as `f:NAME` and `k:{"name":"app"}`.
pub(super) type Field = Vec<String>;
/// Maps managers to the fields that they own.
pub(super) type Sets = BTreeMap<String, BTreeSet<Field>>;

/// The reason why an apply is refused.
pub(super) struct Conflict(pub(super) String);

/// The keys that identify the elements of a list: the first one that they have counts. A list
/// without such a key is one field.
const KEYS: [&str; 2] = ["name", "containerPort"];
/// The fields that nobody owns.
const IDENTITY: [&str; 2] = ["apiVersion", "kind"];

/// Applies a manager's configuration to an object.
pub(super) fn apply(
    object: &mut Value,
    sets: &mut Sets,
    config: &Value,
    manager: &str,
    force: bool,
) -> Result<(), Conflict> {
    let mut wanted = Vec::new();
    leaves(config, &mut Vec::new(), &mut wanted);
    wanted.retain(|(field, _)| !is_identity(field));
    for (field, value) in &wanted {
        let owners = sets
            .iter()
            .filter(|(name, set)| *name != manager && set.contains(field));
        let owners: Vec<String> = owners.map(|(name, _)| name.clone()).collect();
        if owners.is_empty() || get(object, field) == Some(value) {
            continue;
        }
        if !force {
            let path = field.join(".").replace("f:", "");
            return Err(Conflict(format!(
                "Apply failed with 1 conflict: conflict with \"{}\": .{path}",
                owners[0]
            )));
        }
        for owner in owners {
            sets.get_mut(&owner).unwrap().remove(field);
        }
    }
    let set: BTreeSet<Field> = wanted.iter().map(|(field, _)| field.clone()).collect();
    let before = sets
        .insert(manager.to_owned(), set.clone())
        .unwrap_or_default();
    for field in before.difference(&set) {
        let is_shared = sets.values().any(|other| other.contains(field));
        if !is_shared {
            remove(object, field);
        }
    }
    if object.is_null() {
        *object = json!({});
    }
    for name in IDENTITY {
        if !config[name].is_null() {
            object[name] = config[name].clone();
        }
    }
    for name in ["name", "namespace"] {
        if !config["metadata"][name].is_null() {
            object["metadata"][name] = config["metadata"][name].clone();
        }
    }
    for (field, value) in wanted {
        put(object, &field, value);
    }
    Ok(())
}

/// Returns a set of fields as `FieldsV1`.
pub(super) fn fields(set: &BTreeSet<Field>) -> Value {
    let mut root = Map::new();
    for field in set {
        let mut at = &mut root;
        for step in field {
            let next = at.entry(step.clone()).or_insert_with(|| json!({}));
            at = next.as_object_mut().unwrap();
            if step.starts_with("k:") {
                at.entry(".").or_insert_with(|| json!({}));
            }
        }
    }
    Value::Object(root)
}

fn is_identity(field: &Field) -> bool {
    match field.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [one] => IDENTITY.iter().any(|name| one == format!("f:{name}")),
        ["f:metadata", one] => ["f:name", "f:namespace"].contains(&one),
        _ => false,
    }
}

fn key_of(list: &[Value]) -> Option<&'static str> {
    let has = |key: &&str| !list.is_empty() && list.iter().all(|element| !element[*key].is_null());
    KEYS.into_iter().find(|key| has(key))
}

/// Collects the fields of a value that contain no further ones, with their values.
fn leaves(value: &Value, path: &mut Field, found: &mut Vec<(Field, Value)>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (name, value) in object {
                path.push(format!("f:{name}"));
                leaves(value, path, found);
                path.pop();
            }
        }
        Value::Array(list) if key_of(list).is_some() => {
            let key = key_of(list).unwrap();
            for element in list {
                path.push(format!("k:{}", json!({ key: element[key] })));
                leaves(element, path, found);
                path.pop();
            }
        }
        other => found.push((path.clone(), other.clone())),
    }
}

fn element<'a>(list: &'a mut Vec<Value>, key: &str) -> &'a mut Value {
    let key: Value = serde_json::from_str(key).unwrap();
    let (name, wanted) = key.as_object().unwrap().iter().next().unwrap();
    let at = list.iter().position(|element| element[name] == *wanted);
    let at = at.unwrap_or_else(|| {
        list.push(key.clone());
        list.len() - 1
    });
    &mut list[at]
}

fn get<'a>(object: &'a Value, field: &[String]) -> Option<&'a Value> {
    field
        .iter()
        .try_fold(object, |value, step| match step.split_at(2) {
            ("k:", key) => {
                let key: Value = serde_json::from_str(key).ok()?;
                let (name, wanted) = key.as_object()?.iter().next()?;
                value
                    .as_array()?
                    .iter()
                    .find(|element| element[name] == *wanted)
            }
            (_, name) => value.get(name),
        })
}

fn put(object: &mut Value, field: &[String], new: Value) {
    let mut at = object;
    for step in field {
        at = match step.split_at(2) {
            ("k:", key) => {
                if !at.is_array() {
                    *at = json!([]);
                }
                element(at.as_array_mut().unwrap(), key)
            }
            (_, name) => &mut at[name],
        };
    }
    *at = new;
}

/// Removes a field, and every parent that becomes empty.
fn remove(object: &mut Value, field: &[String]) {
    let Some((step, rest)) = field.split_first() else {
        return;
    };
    match step.split_at(2) {
        ("k:", key) => {
            let Some(list) = object.as_array_mut() else {
                return;
            };
            let inner = element(list, key);
            remove(inner, rest);
            let is_gone = inner.as_object().is_none_or(Map::is_empty);
            let gone = inner.clone();
            if is_gone {
                list.retain(|element| *element != gone);
            }
        }
        (_, name) => {
            let Some(map) = object.as_object_mut() else {
                return;
            };
            if rest.is_empty() {
                map.remove(name);
            } else if let Some(inner) = map.get_mut(name) {
                remove(inner, rest);
                let is_empty = inner.as_object().is_some_and(Map::is_empty)
                    || inner.as_array().is_some_and(Vec::is_empty);
                if is_empty {
                    map.remove(name);
                }
            }
        }
    }
}
