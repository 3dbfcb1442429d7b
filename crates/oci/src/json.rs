//! Documents as JSON: written with stable bytes, and read without trust in their size.

mod strict;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Budget, Error, Result};

pub(crate) use strict::from_slice;

/// Writes a document in the form in which it is stored and hashed: compact JSON in the order of the
/// types' fields.
///
/// # Errors
/// None in practice: the types of this crate always serialize.
pub fn to_bytes<T: Serialize>(document: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(Error::json("a document to be written"))
}

/// Reads a document after the budget has paid for it.
pub(crate) fn parse<T: DeserializeOwned>(budget: &Budget, what: &str, bytes: &[u8]) -> Result<T> {
    budget.document(what, bytes.len() as u64, values(bytes))?;
    from_slice(bytes).map_err(Error::json(what))
}

/// Returns an upper bound of the number of values in a document. A value of two bytes can take a
/// hundred in memory, so the values are counted before they are read.
pub(crate) fn values(bytes: &[u8]) -> u64 {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

/// Reads `null` as the default: docker writes `null` where the specification has an empty list.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_texts_only() {
        assert_eq!(values(br#"{"a":[1,2,{}],"b,[{\",":"x"}"#), 6);
        assert_eq!(values(b"[[[["), 4);
    }
}
