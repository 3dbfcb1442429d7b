//! What stands in a lowered specification for what only a build knows.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What stands for a path, or for a fact, until a layer is made.
///
/// In JSON it is an object with the key `placeholder`, wherever its value belongs.
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
        /// A path in it; empty for all of it.
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
    /// The layers of the image below the one that it stands in. It stands in a list.
    Below,
    /// The `.deb` files of Debian packages. It stands in a list, for as many elements as there are.
    Packages(Packages),
}

impl Placeholder {
    /// The path in the workspace that it stands for, if it is one.
    pub fn workspace_path(&self) -> Option<&str> {
        match self {
            Placeholder::Workspace { path } => Some(path),
            _ => None,
        }
    }

    /// The name of the part that it stands for, if it is one.
    pub fn part(&self) -> Option<&str> {
        match self {
            Placeholder::Part { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// The key by which a placeholder is known.
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

/// Packages of a set, without those that other sets give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packages {
    /// The set.
    #[serde(flatten)]
    pub of: SetReference,
    /// Where it is not empty, the names of those that are meant. Of these, `debian.lock` may lack
    /// any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// The sets whose packages are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<SetReference>,
}

/// A set of `debian.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetReference {
    /// Its name.
    pub set: String,
    /// A crate. Unless a program of the image is linked from it, the set has no packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_from: Option<String>,
}

/// Puts values in the place of all placeholders. `stand` gives the value; a list that stands for an
/// element of a list is joined with it.
///
/// # Errors
/// What `stand` says, or that the values are not what `T` has there.
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
