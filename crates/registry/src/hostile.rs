//! Readers of text from outside, for fuzzers: what these do with any input must be an answer or an error.

use crate::auth::challenge;
use crate::credentials::Config;

/// Reads the value of a `WWW-Authenticate` header, and gives the number of challenges in it.
pub fn challenges(text: &str) -> usize {
    challenge::parse(text).len()
}

/// Reads docker's `config.json` and looks `registry` up in it. Says whether it holds credentials for it.
///
/// # Errors
/// Says what is wrong with the file or the entry.
pub fn credentials(text: &str, registry: &str) -> Result<bool, String> {
    let config = Config::parse(text).map_err(|error| error.to_string())?;
    let keys = [registry.to_owned()];
    if config.helper(&keys).is_some() || config.store().is_some() {
        return Ok(true);
    }
    let entry = config.entry(&keys).map(|(_, entry)| entry.decode());
    Ok(entry.transpose()?.flatten().is_some())
}
