//! Manifests: where they name images of the workspace, and the same text with pushed references.
//!
//! A manifest names an image as `crateyard://NAME`, or by a name that a mapping gives. A text is edited at the bytes of
//! those scalars alone. So comments, anchors, several documents, quotes and line ends stay as they are.

mod edit;
mod find;
mod mention;
mod unit;
mod yaml;

use std::collections::BTreeMap;

use crateyard_oci::{Digest, Reference};
pub use find::Names;
pub use mention::SCHEME;

/// What a file is, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, of which JSON is a part.
    Yaml,
    /// A unit of systemd's, as Quadlet reads it.
    Unit,
}

/// Endings of Quadlet's units that can name an image.
/// <https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html>
const UNITS: [&str; 5] = ["container", "image", "volume", "pod", "kube"];

impl Format {
    /// Of a file; none for those that are no manifests.
    pub fn of(name: &str) -> Option<Format> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending {
            "yaml" | "yml" | "json" => Some(Format::Yaml),
            ending if UNITS.contains(&ending) => Some(Format::Unit),
            _ => None,
        }
    }
}

/// A pushed image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its repository.
    pub repository: Reference,
    /// A tag that names it there.
    pub tag: String,
    /// Its digest; of an image for several platforms, that of its index.
    pub digest: Digest,
}

/// Where in a text something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// An image that a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name in `images.toml`.
    pub image: String,
    /// Where.
    pub position: Position,
}

/// What was put in another's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The name of the image in `images.toml`.
    pub image: String,
    /// Where.
    pub position: Position,
    /// Which bytes of the text.
    pub range: std::ops::Range<usize>,
    /// The bytes that were there.
    pub before: String,
    /// Those that are there now.
    pub after: String,
}

/// Why a text can't be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {reason}", .position.line, .position.column)]
pub struct Error {
    /// Where.
    pub position: Position,
    /// What is wrong there, and what to do.
    pub reason: String,
}

/// A text that names images.
#[derive(Clone, Debug)]
pub struct Manifest {
    text: String,
    found: Vec<find::Found>,
}

impl Manifest {
    /// Finds the images of a text.
    ///
    /// # Errors
    /// When it does not parse, or names an image where no reference can go.
    pub fn parse(text: &str, format: Format, names: &Names) -> Result<Manifest, Error> {
        let found = match format {
            Format::Yaml => find::in_yaml(text, names)?,
            Format::Unit => unit::find(text, names)?,
        };
        let text = text.to_owned();
        Ok(Manifest { text, found })
    }

    /// The images that it names, in its order.
    pub fn uses(&self) -> Vec<Use> {
        let uses = self.found.iter().map(|found| Use {
            image: found.image.clone(),
            position: found.position,
        });
        uses.collect()
    }

    /// The text with pushed references, and what was changed, in its order.
    ///
    /// # Errors
    /// When it names an image that is not among `pushed`.
    pub fn resolve(&self, pushed: &BTreeMap<String, Pushed>) -> Result<(String, Vec<Edit>), Error> {
        edit::apply(&self.text, &self.found, pushed)
    }
}
