//! Statements about images, and their bytes that are signed.

use crateyard_oci::media_type;
use serde_json::{Value, json};

use crate::{Error, IMAGE_PREDICATE, IN_TOTO_TYPE};

/// Makes the statement that an image's signature signs. `digest` is `ALGORITHM:HEX`.
pub fn image_statement(digest: &str) -> Value {
    statement(digest, IMAGE_PREDICATE, json!({}))
}

/// Makes a statement about an image.
pub fn statement(digest: &str, predicate_type: &str, predicate: Value) -> Value {
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
    json!({
        "_type": media_type::STATEMENT,
        "subject": [{"digest": {algorithm: hex}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// Reads the statement about the image with this digest (`ALGORITHM:HEX`).
pub(crate) fn about(payload_type: &str, payload: &[u8], digest: &str) -> Result<Value, Error> {
    let statement: Value =
        serde_json::from_slice(payload).map_err(|error| Error::Bundle(error.to_string()))?;
    let is_statement = payload_type == IN_TOTO_TYPE && statement["_type"] == media_type::STATEMENT;
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
    let subjects = statement["subject"].as_array();
    let is_about = subjects.is_some_and(|all| all.iter().any(|it| it["digest"][algorithm] == hex));
    match is_statement && is_about {
        true => Ok(statement),
        false => Err(Error::Mismatch("it is about something else")),
    }
}

/// Returns the bytes that are signed: type and payload, each with its length, so that neither can
/// pass for the other.
pub(crate) fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}
