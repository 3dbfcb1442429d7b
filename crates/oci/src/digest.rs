//! Content digests, and readers and writers that compute them on the way.
//!
//! See the [image specification on
//! digests](https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests).

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// The hash functions that the image specification registers and this crate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256, the usual one.
    Sha256,
    /// SHA-512, allowed and rare.
    Sha512,
}

impl DigestAlgorithm {
    /// Returns the name in a digest and under `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            DigestAlgorithm::Sha256 => "sha256",
            DigestAlgorithm::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            DigestAlgorithm::Sha256 => 64,
            DigestAlgorithm::Sha512 => 128,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A content digest such as `sha256:6c3c…`. A value of this type is well-formed: the hash is
/// lower-case hexadecimal digits and nothing else, so it is safe as a file name and in a URL.
///
/// ```
/// use crateyard_oci::Digest;
///
/// let digest = Digest::of(b"");
/// assert!(digest.as_str().starts_with("sha256:e3b0c442"));
/// assert!(digest.matches(b""));
/// assert!("sha256:../../etc/passwd".parse::<Digest>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Box<str>);

/// A text that is not a digest this crate can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a digest: it must be sha256: and 64, or sha512: and 128 lower-case hexadecimal \
     digits"
)]
pub struct ParseDigestError(String);

impl Digest {
    /// Computes the SHA-256 digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Computes the digest of some bytes with this digest's hash function.
    pub(crate) fn of_same_kind(&self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Whether `bytes` have this digest.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.of_same_kind(bytes) == *self
    }

    /// Returns a hasher of this digest's hash function.
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm())
    }

    /// Returns the hash function.
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self.0.starts_with("sha512") {
            true => DigestAlgorithm::Sha512,
            false => DigestAlgorithm::Sha256,
        }
    }

    /// Returns the digest in its written form, `sha256:6c3c…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hash in lower-case hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0[self.algorithm().name().len() + 1..]
    }

    /// Returns the first twelve digits of the hash, which are enough for people to tell blobs
    /// apart.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// Returns the path of the blob in an OCI image layout, such as `blobs/sha256/6c3c…`.
    pub fn blob_path(&self) -> String {
        format!("blobs/{}/{}", self.algorithm().name(), self.hex())
    }

    /// Returns the digest of the blob with this path in an OCI image layout, or `None` if no blob
    /// has such a path.
    pub fn of_blob_path(path: &str) -> Option<Digest> {
        let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
        format!("{algorithm}:{hex}").parse().ok()
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Digest, ParseDigestError> {
        let bad = || ParseDigestError(text.chars().take(200).collect());
        let (name, hex) = text.split_once(':').ok_or_else(bad)?;
        let algorithm = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(bad)?;
        if !is_hex(hex, algorithm) {
            return Err(bad());
        }
        Ok(Digest(text.into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A hasher that computes a [`Digest`] over bytes that come piece by piece.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// Starts a hash over no bytes.
    pub fn new(algorithm: DigestAlgorithm) -> Hasher {
        Hasher(match algorithm {
            DigestAlgorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            DigestAlgorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all bytes added.
    pub fn finish(self) -> Digest {
        let (algorithm, hash) = match self.0 {
            State::Sha256(state) => (DigestAlgorithm::Sha256, hex(&state.finalize())),
            State::Sha512(state) => (DigestAlgorithm::Sha512, hex(&state.finalize())),
        };
        Digest(format!("{}:{hash}", algorithm.name()).into())
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

/// Whether a text is a SHA-256 in lower-case hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    is_hex(text, DigestAlgorithm::Sha256)
}

/// Whether a text is a hash of that function in lower-case hexadecimal digits.
fn is_hex(text: &str, algorithm: DigestAlgorithm) -> bool {
    text.len() == algorithm.hex_length() && base16ct::lower::decode_vec(text).is_ok()
}

/// A writer that passes bytes on, and counts and hashes them (SHA-256).
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
    length: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> HashingWriter<W> {
        HashingWriter {
            inner,
            hasher: Hasher::new(DigestAlgorithm::Sha256),
            length: 0,
        }
    }

    /// Returns the writer, and the digest and number of the bytes that went through.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.hasher.finish(), self.length)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A reader that passes bytes on, and counts and hashes them.
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
    length: u64,
}

impl<R: Read> HashingReader<R> {
    /// Wraps a reader.
    pub fn new(inner: R, algorithm: DigestAlgorithm) -> HashingReader<R> {
        HashingReader {
            inner,
            hasher: Hasher::new(algorithm),
            length: 0,
        }
    }

    /// Returns the number of bytes that were read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the reader, and the digest and number of the bytes that were read.
    pub fn finish(self) -> (R, Digest, u64) {
        (self.inner, self.hasher.finish(), self.length)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.length += read as u64;
        Ok(read)
    }
}

/// A reader that passes bytes on, and fails at the end if they do not match a descriptor.
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Digest,
    left: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Wraps the reader of a blob.
    pub fn new(inner: R, descriptor: &crate::Descriptor) -> VerifyingReader<R> {
        VerifyingReader {
            inner,
            hasher: Some(Hasher::new(descriptor.digest.algorithm())),
            expected: descriptor.digest.clone(),
            left: descriptor.size,
        }
    }

    fn check(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else {
            return Ok(());
        };
        let wrong = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        if self.left > 0 {
            return wrong(format!("the blob ends {} bytes early", self.left));
        }
        let digest = hasher.finish();
        if digest != self.expected {
            return wrong(format!("its content has the digest {digest}"));
        }
        Ok(())
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.inner.read(buffer)?;
        if read == 0 {
            self.check()?;
            return Ok(0);
        }
        let Some(left) = self.left.checked_sub(read as u64) else {
            let problem = "the blob is longer than its descriptor says";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        };
        self.left = left;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_parsed_strictly() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../etc/passwd",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &format!("sha256:{}", "0A".repeat(32)),
            &format!("sha256:{}", "0a".repeat(31)),
            &format!("sha512:{}", "0a".repeat(32)),
            &format!("sha256:{}/", "0a".repeat(31)),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_have_the_published_values() {
        assert_eq!(
            Digest::of(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let mut hasher = Hasher::new(DigestAlgorithm::Sha512);
        hasher.update(b"abc");
        assert!(hasher.finish().hex().starts_with("ddaf35a193617aba"));
    }
}
