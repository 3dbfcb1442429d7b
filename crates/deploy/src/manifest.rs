//! Finds the images of the workspace that manifests name, and replaces them with pushed references.
//!
//! A manifest names an image as `crateyard://NAME`, or by a name in the mapping. An edit changes
//! only the bytes of such scalars. So comments, anchors, multiple documents, quotes and line ends
//! stay as they are.

mod edit;
mod find;
mod mention;
mod position;
mod unit;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use crateyard_oci::{Digest, Reference};
pub use find::Names;
pub use mention::SCHEME;

use crate::quadlet;

/// The syntax of a file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// YAML, which includes JSON.
    Yaml,
    /// A systemd unit that Quadlet reads, or a drop-in of one.
    Unit,
}

impl Syntax {
    /// Returns the syntax of a file, or `None` if it is not a manifest. The name of a file's
    /// directory tells the drop-ins of units.
    pub fn of(path: &Path) -> Option<Syntax> {
        let name = path.file_name()?.to_string_lossy();
        if quadlet::is_unit(&name) || quadlet::is_drop_in(&path.to_string_lossy()) {
            return Some(Syntax::Unit);
        }
        let (_, ending) = name.rsplit_once('.')?;
        matches!(ending, "yaml" | "yml" | "json").then_some(Syntax::Yaml)
    }
}

/// A pushed image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The repository.
    pub repository: Reference,
    /// A tag of the image in the repository.
    pub tag: String,
    /// The digest. An image for several platforms has the digest of its index.
    pub digest: Digest,
}

/// A position in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
}

/// An image that a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name in `images.toml`.
    pub image: String,
    /// The position.
    pub position: Position,
}

/// A replacement in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The name of the image in `images.toml`.
    pub image: String,
    /// The position.
    pub position: Position,
    /// The range of the replaced bytes.
    pub range: std::ops::Range<usize>,
    /// The old bytes.
    pub before: String,
    /// The new bytes.
    pub after: String,
}

/// The reason why a text can't be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {reason}", .position.line, .position.column)]
pub struct Error {
    /// The position.
    pub position: Position,
    /// The problem and the next step.
    pub reason: String,
}

/// A text that names images.
#[derive(Clone, Debug)]
pub struct DeployManifest {
    text: String,
    found: Vec<find::Found>,
}

impl DeployManifest {
    /// Finds the images in a text.
    ///
    /// # Errors
    /// When the text does not parse, or names an image in a place that can't hold a reference.
    pub fn parse(text: &str, syntax: Syntax, names: &Names) -> Result<DeployManifest, Error> {
        let found = match syntax {
            Syntax::Yaml => find::in_yaml(text, names)?,
            Syntax::Unit => unit::find(text, names)?,
        };
        let text = text.to_owned();
        Ok(DeployManifest { text, found })
    }

    /// Returns the images that the text names, in its order.
    pub fn uses(&self) -> Vec<Use> {
        let uses = self.found.iter().map(|found| Use {
            image: found.image.clone(),
            position: found.position,
        });
        uses.collect()
    }

    /// Returns the text with pushed references, and the replacements in the text's order.
    ///
    /// # Errors
    /// When the text names an image that is not in `pushed`.
    pub fn resolve(&self, pushed: &BTreeMap<String, Pushed>) -> Result<(String, Vec<Edit>), Error> {
        edit::apply(&self.text, &self.found, pushed)
    }
}
