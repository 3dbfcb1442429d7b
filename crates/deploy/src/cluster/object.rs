//! Objects of Kubernetes and their names.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

/// The identity of an object. It has no API version, because a server serves the same object in
/// several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace; empty for objects without one.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Reads the identity of an object; `None` if it has no kind or name.
    pub fn of(object: &Value) -> Option<Key> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let version = object["apiVersion"].as_str()?;
        Some(Key {
            group: version
                .split_once('/')
                .map_or("", |(group, _)| group)
                .to_owned(),
            kind: text(&object["kind"])?,
            namespace: text(&object["metadata"]["namespace"]).unwrap_or_default(),
            name: text(&object["metadata"]["name"])?,
        })
    }

    /// Returns the name as `kubectl` takes it: `deployment.apps/gateway`.
    pub fn resource(&self) -> String {
        let kind = self.kind.to_lowercase();
        match self.group.is_empty() {
            true => format!("{kind}/{}", self.name),
            false => format!("{kind}.{}/{}", self.group, self.name),
        }
    }

    /// Whether the object is a namespace of the cluster, and not another group's kind of that name.
    pub fn is_namespace(&self) -> bool {
        self.group.is_empty() && self.kind == "Namespace"
    }

    /// Whether the object is a job, whose template no server changes.
    pub fn is_job(&self) -> bool {
        self.group == "batch" && self.kind == "Job"
    }

    /// Whether `kubectl rollout status` can wait for the object.
    pub fn rolls_out(&self) -> bool {
        let kinds = ["Deployment", "DaemonSet", "StatefulSet"];
        self.group == "apps" && kinds.contains(&self.kind.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.to_lowercase(), self.name)?;
        match self.namespace.is_empty() {
            true => Ok(()),
            false => write!(formatter, " in {}", self.namespace),
        }
    }
}

/// Reads objects from the output of `kubectl`: one document, a list, or several documents in a row.
///
/// # Errors
/// When the text is not JSON.
pub fn objects(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    let mut found = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let mut document = document?;
        let is_list = document["kind"] == "List";
        let items = document.get_mut("items").filter(|_| is_list);
        match items.map(Value::take) {
            Some(Value::Array(items)) => found.extend(items),
            _ => found.push(document),
        }
    }
    Ok(found)
}

/// Groups and kinds that other objects need before a server accepts them.
const FIRST: [(&str, &str); 2] = [
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
];

/// Puts the objects that others need first: namespaces, and definitions of kinds. All others keep
/// their order.
pub fn in_order(mut objects: Vec<Value>) -> Vec<Value> {
    let rank = |object: &Value| {
        let key = Key::of(object)?;
        let own = (key.group.as_str(), key.kind.as_str());
        FIRST.iter().position(|first| *first == own)
    };
    objects.sort_by_key(|object| rank(object).unwrap_or(FIRST.len()));
    objects
}

/// Checks that no object is there twice: the last one would win, and each deployment would change
/// it twice.
///
/// # Errors
/// When an object is there twice.
pub fn expect_once(objects: &[Value]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match objects
        .iter()
        .filter_map(Key::of)
        .find(|key| !seen.insert(key.clone()))
    {
        None => Ok(()),
        Some(key) => Err(format!(
            "the manifests describe {key} twice\n  try: leave one of the two out"
        )),
    }
}

/// Writes objects as one document.
pub fn list<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    let items: Vec<&Value> = objects.into_iter().collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// Sets the namespace of the objects that name none in `written`. `written` has the same objects as
/// a person wrote them. In `objects` they have the namespace that they would get otherwise, or none
/// if their kind has none. Returns false if the two are not the same objects in the same order.
pub fn place(objects: &mut [Value], written: &[Value], namespace: &str) -> bool {
    let name = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
    let names = |all: &[Value]| all.iter().map(name).collect::<Vec<_>>();
    if names(objects) != names(written) {
        return false;
    }
    let is_named = |object: &Value| {
        let own = object["metadata"]["namespace"].as_str();
        own.is_some_and(|own| !own.is_empty())
    };
    for (object, written) in objects.iter_mut().zip(written) {
        if is_named(object) && !is_named(written) {
            object["metadata"]["namespace"] = namespace.into();
        }
    }
    true
}
