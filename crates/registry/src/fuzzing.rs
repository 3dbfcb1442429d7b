//! Entry points for fuzzers: parsers of untrusted text. Any input must give an answer or an error.

use crate::auth::challenge;
use crate::credentials::Config;

/// Parses the value of a `WWW-Authenticate` header and returns the number of challenges in it.
pub fn challenges(text: &str) -> usize {
    challenge::parse(text).len()
}

/// Parses docker's `config.json`, and returns whether it holds credentials for `registry`.
///
/// # Errors
/// Fails with the fault of the file or of the entry.
pub fn credentials(text: &str, registry: &str) -> Result<bool, String> {
    let config = Config::parse(text).map_err(|error| error.to_string())?;
    let keys = [registry.to_owned()];
    if config.helper(&keys).is_some() || config.store().is_some() {
        return Ok(true);
    }
    let entry = config.entry(&keys).map(|(_, entry)| entry.decode());
    Ok(entry.transpose()?.flatten().is_some())
}
