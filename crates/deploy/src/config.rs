//! `deploy.toml`: defaults for the options of `assemble resolve` and `assemble deploy`.
//!
//! ```toml
//! to = "registry.example/team/"
//! files = ["deploy/manifests"]
//!
//! [images]
//! "docker.io/crateyard/gateway" = "gateway"
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

/// The file's name, beside `images.toml`.
pub const FILE: &str = "deploy.toml";

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DeployConfig {
    /// The target of images: `REGISTRY/PATH/`. Each image has a repository of its own name below
    /// it.
    pub to: Option<String>,
    /// Files and directories to deploy, relative to this file.
    pub files: Vec<String>,
    /// Maps the names that manifests use for images, without tag and digest, to names in
    /// `images.toml`.
    pub images: BTreeMap<String, String>,
    /// A context of the kubeconfig [default: kubectl's current one].
    pub context: Option<String>,
    /// The namespace of objects that name none [default: kubectl's].
    pub namespace: Option<String>,
}

impl DeployConfig {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When the text is malformed. The error names the line and the problem.
    pub fn parse(text: &str) -> Result<DeployConfig, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let config =
            DeployConfig::parse("to = \"localhost:5000/\"\n[images]\napp = \"app\"\n").unwrap();
        assert_eq!(config.images["app"], "app");
        let error = DeployConfig::parse("to = \"x\"\nfile = [\"a\"]\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
