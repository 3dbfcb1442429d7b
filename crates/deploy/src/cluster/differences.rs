//! Finds the fields in which two states of an object differ.

use serde_json::Value;

use super::Change;
use super::record::without_record;

/// Fields that the server writes by itself.
const OF_SERVER: [&str; 6] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// A container whose image would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChange {
    /// The container's name.
    pub container: String,
    /// The current image.
    pub before: String,
    /// The new image.
    pub after: String,
}

/// Compares an object with the object that it would become.
pub(super) fn between(live: &Value, would: &Value) -> Change {
    let (live, would) = (cleaned(live), cleaned(would));
    let mut found = Found::default();
    found.compare(&mut Vec::new(), &live, &would);
    match found.images.is_empty() && found.fields.is_empty() {
        true => Change::None,
        false => Change::Update {
            images: found.images,
            fields: found.fields,
        },
    }
}

fn cleaned(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|name, _| !OF_SERVER.contains(&name.as_str()));
    }
    without_record(object)
}

#[derive(Default)]
struct Found {
    images: Vec<ImageChange>,
    fields: Vec<String>,
}

impl Found {
    /// Collects the differences of two values. `path` leads to both of them.
    fn compare(&mut self, path: &mut Vec<String>, before: &Value, after: &Value) {
        match (before, after) {
            (Value::Object(one), Value::Object(other)) => {
                let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
                names.sort();
                names.dedup();
                for name in names {
                    let nothing = Value::Null;
                    let (one, other) = (one.get(name), other.get(name));
                    path.push(name.clone());
                    self.compare(path, one.unwrap_or(&nothing), other.unwrap_or(&nothing));
                    path.pop();
                }
            }
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
                for (number, (one, other)) in one.iter().zip(other).enumerate() {
                    let name = other["name"].as_str().filter(|name| one["name"] == **name);
                    path.push(match name {
                        Some(name) => format!("[{name}]"),
                        None => format!("[{number}]"),
                    });
                    self.compare(path, one, other);
                    path.pop();
                }
            }
            _ if before == after => {}
            _ => self.add(path, before, after),
        }
    }

    fn add(&mut self, path: &[String], before: &Value, after: &Value) {
        let container = match path {
            [.., list, container, last] if last == "image" && list.ends_with("ontainers") => {
                Some(container.trim_matches(['[', ']']))
            }
            _ => None,
        };
        match (container, before.as_str(), after.as_str()) {
            (Some(container), Some(before), Some(after)) => self.images.push(ImageChange {
                container: container.to_owned(),
                before: before.to_owned(),
                after: after.to_owned(),
            }),
            _ => self.fields.push(path.join(".").replace(".[", "[")),
        }
    }
}
