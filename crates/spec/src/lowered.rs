//! Layers as `images.toml` describes them. Only the paths and facts of a build are missing.

use serde::{Deserialize, Serialize};

use crate::{Compression, FormatVersion, LayerSpec, Placeholder};

/// A source of files, with placeholders.
pub type Source = crate::Source<Placeholder, Placeholder>;

/// A layer of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layer {
    /// Its name, unique in its image: `base`, `binary-gateway`.
    pub name: String,
    /// Whether the image drops the layer if its sets have no packages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Whether the image drops the layer if no program is linked to a library that only this layer
    /// has. This shows when the image is put together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_if_linked: bool,
    /// Paths of its files that replace files of the base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Whether its files may replace any files below.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_override: bool,
    /// Texts that none of its files may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<String>,
    /// Its contents: packages, or single things sorted by path.
    pub sources: Vec<Source>,
}

impl Layer {
    /// Returns its specification, with placeholders to be filled in.
    pub fn spec(&self, compression: Compression) -> LayerSpec<Placeholder, Placeholder> {
        LayerSpec {
            version: FormatVersion,
            comment: self.name.clone(),
            compression,
            epoch: 0,
            forbidden: self.forbidden.clone(),
            sources: self.sources.clone(),
        }
    }

    /// Whether it holds packages, and so is one of the layers below the programs.
    pub fn has_packages(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| matches!(source, Source::Debian(_)))
    }
}
