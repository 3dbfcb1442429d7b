//! What only the workspace knows of its description's subjects.

use std::collections::BTreeSet;

use toml::de::DeTable;

use crate::sources::Sources;
use crate::targets::Targets;

/// What a description is resolved against.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its packages.
    pub targets: Targets,
    /// Its files.
    pub sources: Sources,
    /// The names of all packages in `Cargo.lock`, where it is known.
    pub locked: Option<BTreeSet<String>>,
}

impl Workspace {
    /// A workspace of which nothing but its packages is known.
    pub fn new(targets: Targets) -> Workspace {
        Workspace {
            targets,
            sources: Sources::Unknown,
            locked: None,
        }
    }
}

/// The names of all packages in the text of a `Cargo.lock`.
///
/// # Errors
/// Where it is not TOML.
pub fn locked_names(lock: &str) -> Result<BTreeSet<String>, toml::de::Error> {
    let document = DeTable::parse(lock)?;
    let packages = document.get_ref().get("package");
    let packages = packages.and_then(|packages| packages.get_ref().as_array());
    let name = |package: &toml::Spanned<toml::de::DeValue>| {
        let name = package.get_ref().get("name")?;
        name.get_ref().as_str().map(str::to_string)
    };
    Ok(packages.into_iter().flatten().filter_map(name).collect())
}
