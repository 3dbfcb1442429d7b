//! Placeholders in a lowered specification, for values that only a build knows.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A placeholder for a path or a fact, until a layer is made.
///
/// In JSON it is an object with the key `placeholder`, in the place of its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "placeholder", rename_all = "kebab-case")]
pub enum Placeholder {
    /// A file or a directory of the workspace.
    Workspace {
        /// Relative to the workspace.
        path: String,
    },
    /// A part: a file or a directory that the flake hands over under a name (`parts` of
    /// nix/lib.nix).
    Part {
        /// Its name.
        name: String,
        /// A path in the part; empty for the whole part.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path: String,
    },
    /// A program of the workspace.
    Program(Binary),
    /// The list of the crates that a program is linked from ([`crate::LinkedCrates`]).
    Crates(Binary),
    /// The layout of another image.
    Image {
        /// Its name in the description.
        name: String,
    },
    /// The layout of a foreign base with one image, or one for each platform.
    Base {
        /// The layout in the workspace.
        path: String,
        /// The digest of the image or index in it.
        digest: String,
    },
    /// The layers of the image below the one that has the placeholder. It is an element of a list.
    Below,
    /// The `.deb` files of Debian packages. It is an element of a list, and stands for any number
    /// of files.
    Packages(Packages),
}

impl Placeholder {
    /// Returns the path in the workspace that it stands for, if it is one.
    pub fn workspace_path(&self) -> Option<&str> {
        match self {
            Placeholder::Workspace { path } => Some(path),
            _ => None,
        }
    }

    /// Returns the name of the part that it stands for, if it is one.
    pub fn part(&self) -> Option<&str> {
        match self {
            Placeholder::Part { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// The key that marks a placeholder.
const KEY: &str = "placeholder";

/// A binary of the workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binary {
    /// Package.
    pub package: String,
    /// Binary target.
    pub bin: String,
    /// The call of Cargo that compiles it, by its name in the description.
    pub call: String,
}

/// Packages of a set, without those that come from other sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packages {
    /// The set.
    #[serde(flatten)]
    pub of: SetReference,
    /// If not empty, the only packages of the set to take. `debian.lock` may lack any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// The sets whose packages to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<SetReference>,
}

/// A set of `debian.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetReference {
    /// Its name.
    pub set: String,
    /// A crate. The set only has packages if a program of the image is linked from this crate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_from: Option<String>,
}

/// Replaces all placeholders with values, which `stand` gives. A list in the place of an element of
/// a list is joined with that list.
///
/// # Errors
/// Returns the errors of `stand`, or fails if the values do not fit `T`.
pub fn fill<T, E>(
    lowered: &impl Serialize,
    stand: &mut dyn FnMut(Placeholder) -> Result<Value, E>,
) -> Result<T, E>
where
    T: DeserializeOwned,
    E: From<serde_json::Error>,
{
    let value = filled(serde_json::to_value(lowered)?, stand)?;
    Ok(serde_json::from_value(value)?)
}

fn filled<E: From<serde_json::Error>>(
    value: Value,
    stand: &mut dyn FnMut(Placeholder) -> Result<Value, E>,
) -> Result<Value, E> {
    match value {
        Value::Object(_) if value.get(KEY).is_some() => stand(serde_json::from_value(value)?),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| Ok((name, filled(value, stand)?)));
            Ok(Value::Object(fields.collect::<Result<Map<_, _>, E>>()?))
        }
        Value::Array(elements) => {
            let mut all = Vec::new();
            for element in elements {
                let is_placeholder = element.get(KEY).is_some();
                match filled(element, stand)? {
                    Value::Array(several) if is_placeholder => all.extend(several),
                    one => all.push(one),
                }
            }
            Ok(Value::Array(all))
        }
        plain => Ok(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_stands_for_as_many_elements_as_it_has() {
        let lowered = json!({
            "packages": [{"placeholder": "packages", "set": "base"}, "/last.deb"],
            "list": [["kept"]],
            "from": {"placeholder": "image", "name": "gateway"},
        });
        let mut stand = |placeholder| {
            Ok::<Value, serde_json::Error>(match placeholder {
                Placeholder::Packages(_) => json!(["/a.deb", "/b.deb"]),
                Placeholder::Image { name } => json!(format!("/{name}-image")),
                other => panic!("{other:?}"),
            })
        };
        let filled: Value = fill(&lowered, &mut stand).unwrap();
        let expected = json!({
            "packages": ["/a.deb", "/b.deb", "/last.deb"],
            "list": [["kept"]],
            "from": "/gateway-image",
        });
        assert_eq!(filled, expected);
    }

    #[test]
    fn a_placeholder_that_nobody_knows_is_refused() {
        let mut stand = |_| Ok::<Value, serde_json::Error>(Value::Null);
        let lowered = json!([{"placeholder": "teapot"}]);
        let error = fill::<Value, _>(&lowered, &mut stand).unwrap_err();
        assert!(error.to_string().contains("teapot"), "{error}");
    }
}
