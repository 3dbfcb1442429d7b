//! Hashes in the form of `package-lock.json`: [Subresource Integrity](https://www.w3.org/TR/SRI/).

use base64::Engine as _;

/// The hash of a tarball.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Integrity {
    /// `sha512`, `sha256` or `sha1`.
    pub algorithm: String,
    /// Hexadecimal digits.
    pub hex: String,
}

impl Integrity {
    /// Reads `sha512-BASE64`. Returns `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Integrity> {
        let (algorithm, value) = text.split_once('-')?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(value)
            .ok()?;
        let length = match algorithm {
            "sha512" => 64,
            "sha256" => 32,
            "sha1" => 20,
            _ => return None,
        };
        (bytes.len() == length).then(|| Integrity {
            algorithm: algorithm.to_owned(),
            hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// Returns the algorithm's number: `512` for SHA-512.
    pub(super) fn number(&self) -> &str {
        self.algorithm.trim_start_matches("sha")
    }
}

#[cfg(test)]
mod tests {
    use super::Integrity;

    #[test]
    fn only_whole_hashes_are_read() {
        let read = Integrity::parse("sha1-AAECAwQFBgcICQoLDA0ODxAREhM=").unwrap();
        assert_eq!(read.hex, "000102030405060708090a0b0c0d0e0f10111213");
        assert_eq!(read.number(), "1");
        for odd in [
            "",
            "sha1",
            "sha1-AAEC",
            "md5-AAECAwQFBgcICQoLDA0ODw==",
            "sha512-?",
        ] {
            assert_eq!(Integrity::parse(odd), None, "{odd}");
        }
    }
}
