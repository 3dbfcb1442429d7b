//! Extended attributes of files: their names, and their values in JSON and `images.toml`.
//!
//! <https://man7.org/linux/man-pages/man7/xattr.7.html>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Values by name. JSON fields hold them through [`base64_values`].
pub type Attributes = BTreeMap<String, Vec<u8>>;

/// The possible beginnings of names.
const NAMESPACES: [&str; 4] = ["security.", "system.", "trusted.", "user."];

/// The prefixes of attributes of overlay file systems. An engine that stacks layers obeys them.
/// <https://docs.kernel.org/filesystems/overlayfs.html>
const OVERLAYS: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// The longest name, and the largest value, in bytes (`XATTR_NAME_MAX`, `XATTR_SIZE_MAX`). Whoever
/// reads an image has the same limit for values (crates/oci).
const MAX_NAME: usize = 255;
const MAX_VALUE: usize = 64 << 10;

/// Checks that a file may have an attribute of that name and value.
///
/// # Errors
/// Returns half a sentence that follows the name.
pub fn check_attribute(name: &str, value: &[u8]) -> Result<(), String> {
    let rest = NAMESPACES.iter().find_map(|it| name.strip_prefix(it));
    if rest.is_none_or(str::is_empty) {
        return Err(format!(
            "is not the name of an attribute; names begin with {}",
            NAMESPACES.map(|it| format!("`{it}`")).join(", ")
        ));
    }
    // `=` ends a name in a tar file.
    if name.len() > MAX_NAME || name.contains(['=', '\0', '\n']) {
        return Err(format!(
            "is not the name of an attribute; it has at most {MAX_NAME} bytes, and no `=`, \
             line break or zero byte"
        ));
    }
    if OVERLAYS.iter().any(|overlay| name.starts_with(overlay)) {
        return Err("is an attribute that engines use themselves, to stack layers".to_owned());
    }
    if value.len() > MAX_VALUE {
        return Err(format!(
            "has a value of {} bytes; the most is {MAX_VALUE}",
            value.len()
        ));
    }
    Ok(())
}

/// Reads a value in a form of setfattr(1): text, `0x` and hexadecimal digits, or `0s` and base 64.
///
/// ```
/// use crateyard_spec::attribute_value;
///
/// assert_eq!(attribute_value("plain"), Ok(b"plain".to_vec()));
/// assert_eq!(attribute_value("0x00ff"), Ok(vec![0, 255]));
/// assert_eq!(attribute_value("0sAP8="), Ok(vec![0, 255]));
/// ```
///
/// # Errors
/// Returns half a sentence that follows the value.
pub fn attribute_value(text: &str) -> Result<Vec<u8>, String> {
    if let Some(digits) = text.strip_prefix("0x") {
        return base16ct::mixed::decode_vec(digits)
            .map_err(|_| "begins with `0x`, and is not pairs of hexadecimal digits".to_owned());
    }
    match text.strip_prefix("0s") {
        Some(digits) => STANDARD
            .decode(digits)
            .map_err(|error| format!("begins with `0s`, and is not base 64: {error}")),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// [`Attributes`] in JSON: an object of names to values in base 64. For `#[serde(with = "…")]`.
pub mod base64_values {
    use super::{Attributes, BTreeMap, STANDARD};
    use base64::Engine as _;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes values in base 64.
    ///
    /// # Errors
    /// Returns the errors of the serializer.
    pub fn serialize<S: Serializer>(all: &Attributes, serializer: S) -> Result<S::Ok, S::Error> {
        let encoded = all
            .iter()
            .map(|(name, value)| (name, STANDARD.encode(value)));
        serializer.collect_map(encoded)
    }

    /// Reads values in base 64.
    ///
    /// # Errors
    /// Fails if a value is not base 64.
    pub fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Attributes, D::Error> {
        let decode = |(name, value): (String, String)| {
            let bytes = STANDARD.decode(value).map_err(|error| {
                D::Error::custom(format!("the value of {name:?} is not base 64: {error}"))
            });
            Ok((name, bytes?))
        };
        let encoded = BTreeMap::<String, String>::deserialize(reader)?;
        encoded.into_iter().map(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_checked() {
        let long = format!("user.{}", "x".repeat(251));
        for (name, says) in [
            ("note", "begin with"),
            ("user.", "begin with"),
            ("colour.x", "begin with"),
            ("user.a=b", "no `=`"),
            (&long, "255 bytes"),
            ("trusted.overlay.opaque", "engines"),
            ("user.overlay.metacopy", "engines"),
        ] {
            let said = check_attribute(name, b"").unwrap_err();
            assert!(said.contains(says), "{name}: {said}");
        }
        let most = vec![0; MAX_VALUE];
        assert_eq!(check_attribute("user.note", &most), Ok(()));
        let more = vec![0; MAX_VALUE + 1];
        assert!(check_attribute("user.note", &more).is_err());
    }

    #[test]
    fn values_that_are_cut_off_are_refused() {
        for (text, says) in [("0x0", "`0x`"), ("0xzz", "`0x`"), ("0s=", "`0s`")] {
            let said = attribute_value(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
