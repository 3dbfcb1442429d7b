//! docker's `config.json`, and podman's `auth.json`, which is the same with longer keys.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credentials;

/// The parts of the file that are about credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Config {
    /// Parses the file's text. An empty file holds nothing.
    ///
    /// # Errors
    /// Fails if the text is not JSON, or not of this form.
    pub(crate) fn parse(text: &str) -> Result<Config, serde_json::Error> {
        if text.trim().is_empty() {
            return Ok(Config::default());
        }
        serde_json::from_str(text)
    }

    /// Returns the helper of the first of `keys` that has its own.
    pub(crate) fn helper(&self, keys: &[String]) -> Option<&str> {
        let found = keys.iter().find_map(|key| self.cred_helpers.get(key));
        found.map(String::as_str)
    }

    /// Returns the helper for all registries.
    pub(crate) fn store(&self) -> Option<&str> {
        self.creds_store.as_deref().filter(|it| !it.is_empty())
    }

    /// Returns the entry for the first of `keys` that the file holds, and the entry's name there.
    pub(crate) fn entry(&self, keys: &[String]) -> Option<(&str, &Entry)> {
        let entries = || self.auths.iter().filter(|(_, entry)| !entry.is_empty());
        let found = keys
            .iter()
            .find_map(|key| entries().find(|(name, _)| normalize(name) == *key));
        found.map(|(name, entry)| (name.as_str(), entry))
    }
}

/// Returns the registry of a key: `registry.example` for `https://registry.example/v1/`. docker has
/// written several forms over the years.
fn normalize(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key)
}

impl Entry {
    fn is_empty(&self) -> bool {
        [
            &self.auth,
            &self.username,
            &self.identitytoken,
            &self.registrytoken,
        ]
        .into_iter()
        .all(|field| field.as_deref().unwrap_or_default().is_empty())
    }

    /// Decodes the credentials that the entry holds.
    ///
    /// # Errors
    /// Fails with the entry's fault.
    pub(crate) fn decode(&self) -> Result<Option<Credentials>, String> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        if let Some(auth) = given(&self.auth) {
            return decode_auth(&auth).map(Some);
        }
        let password = given(&self.password).unwrap_or_default();
        Ok(given(&self.username).map(|username| Credentials::Password { username, password }))
    }
}

/// Decodes `USERNAME:PASSWORD` in base64. base64(1) breaks lines after 76 characters; docker joins
/// them again, and so does this function.
fn decode_auth(auth: &str) -> Result<Credentials, String> {
    let joined: String = auth.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(joined);
    let bytes = bytes.map_err(|error| format!("auth is not base64: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| "auth is not UTF-8".to_owned())?;
    let (username, password) = text
        .split_once(':')
        .ok_or_else(|| "auth is not USERNAME:PASSWORD in base64".to_owned())?;
    Ok(Credentials::Password {
        username: username.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    })
}
