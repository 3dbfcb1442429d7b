//! Narinfos: the descriptions of paths in a cache.
//!
//! See [the format](https://nix.dev/manual/nix/latest/protocols/nix-archive) and `nix-cache-info`
//! in Nix's manual.

use std::fmt;

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::key::{PublicKey, SecretKey, Signature};
use crate::path::StorePath;

/// The size limit of a narinfo, in bytes.
pub const MAX_NARINFO: u64 = 1024 * 1024;

/// The description of a path in a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarInfo {
    /// The path.
    pub path: StorePath,
    /// The URL of its archive (NAR), relative to the cache.
    pub url: String,
    /// The compression of the archive: `zstd`, `xz`, `none` and so on.
    pub compression: String,
    /// Hash of the compressed archive.
    pub file_hash: Option<Hash>,
    /// Size of the compressed archive in bytes.
    pub file_size: Option<u64>,
    /// Hash of the archive.
    pub nar_hash: Hash,
    /// Size of the archive in bytes.
    pub nar_size: u64,
    /// The paths that it refers to.
    pub references: Vec<StorePath>,
    /// The derivation that made it.
    pub deriver: Option<String>,
    /// For content-addressed paths, how the path follows from the content.
    pub ca: Option<String>,
    /// Signatures of the fingerprint.
    pub signatures: Vec<Signature>,
}

impl NarInfo {
    /// Parses a narinfo. `place` is its name in messages.
    ///
    /// # Errors
    /// Fails if a field is missing or malformed.
    pub fn parse(text: &str, place: &str) -> Result<NarInfo> {
        Fields { text, place }.read()
    }

    /// Returns the text that signatures cover: path, hash, size and references.
    pub fn fingerprint(&self) -> String {
        let references: Vec<String> = self.references.iter().map(StorePath::to_string).collect();
        format!(
            "1;{};{};{};{}",
            self.path,
            self.nar_hash,
            self.nar_size,
            references.join(",")
        )
    }

    /// Adds a signature. Replaces an older one by the same key.
    pub fn sign(&mut self, key: &SecretKey) {
        let signature = key.sign(&self.fingerprint());
        self.signatures.retain(|other| other.key != signature.key);
        self.signatures.push(signature);
    }

    /// Whether it has a valid signature by one of the keys.
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        let fingerprint = self.fingerprint();
        let is_good = |signature| keys.iter().any(|key| key.verifies(&fingerprint, signature));
        self.signatures.iter().any(is_good)
    }

    /// Returns how many bytes a download takes, or the size of the archive if the cache does not
    /// say.
    pub fn download_size(&self) -> u64 {
        self.file_size.unwrap_or(self.nar_size)
    }
}

impl fmt::Display for NarInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "StorePath: {}", self.path)?;
        writeln!(f, "URL: {}", self.url)?;
        writeln!(f, "Compression: {}", self.compression)?;
        if let Some(hash) = &self.file_hash {
            writeln!(f, "FileHash: {hash}")?;
        }
        if let Some(size) = self.file_size {
            writeln!(f, "FileSize: {size}")?;
        }
        writeln!(f, "NarHash: {}", self.nar_hash)?;
        writeln!(f, "NarSize: {}", self.nar_size)?;
        let references: Vec<&str> = self.references.iter().map(StorePath::base).collect();
        writeln!(f, "References: {}", references.join(" "))?;
        if let Some(deriver) = &self.deriver {
            writeln!(f, "Deriver: {deriver}")?;
        }
        for signature in &self.signatures {
            writeln!(f, "Sig: {signature}")?;
        }
        if let Some(ca) = &self.ca {
            writeln!(f, "CA: {ca}")?;
        }
        Ok(())
    }
}

/// The fields of a narinfo's text.
struct Fields<'a> {
    text: &'a str,
    place: &'a str,
}

impl<'a> Fields<'a> {
    fn read(&self) -> Result<NarInfo> {
        let references = self.get("References").unwrap_or_default();
        let parsed = |texts: &'a str| texts.split_whitespace().map(str::parse);
        Ok(NarInfo {
            path: self.need("StorePath")?.parse()?,
            url: self.need("URL")?.to_owned(),
            compression: self.get("Compression").unwrap_or("bzip2").to_owned(),
            file_hash: self.get("FileHash").map(str::parse).transpose()?,
            file_size: self
                .get("FileSize")
                .map(|_| self.size("FileSize"))
                .transpose()?,
            nar_hash: self.need("NarHash")?.parse()?,
            nar_size: self.size("NarSize")?,
            references: parsed(references).collect::<Result<_>>()?,
            deriver: self.get("Deriver").map(str::to_owned),
            ca: self.get("CA").map(str::to_owned),
            signatures: self.all("Sig").map(str::parse).collect::<Result<_>>()?,
        })
    }

    fn all(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(value.trim())
        })
    }

    fn get(&self, name: &'a str) -> Option<&'a str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    fn need(&self, name: &'static str) -> Result<&'a str> {
        self.get(name)
            .ok_or_else(|| self.damaged(format!("has no {name}")))
    }

    fn size(&self, name: &'static str) -> Result<u64> {
        let text = self.need(name)?;
        text.parse().map_err(|_| {
            self.damaged(format!(
                "{name} is {text:?}, which is not a number of bytes"
            ))
        })
    }

    fn damaged(&self, reason: String) -> Error {
        Error::damaged(self.place, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written and signed by Nix 2.8.
    const WRITTEN: &str = "\
StorePath: /nix/store/0088nw260g520izissyias822skzxd61-getrandom-0.4.3-build-script
URL: nar/0d7l63s4sr8z3alvap7sab7q9s1f1vs1d5vrmrg6qlf246gk21b8.nar.zst
Compression: zstd
FileHash: sha256:0d7l63s4sr8z3alvap7sab7q9s1f1vs1d5vrmrg6qlf246gk21b8
FileSize: 195995
NarHash: sha256:1kdq8x9w9llzdx1akbhnssdm3vbv1vk5ksfiwjd3zzq7dvh17qh7
NarSize: 409320
References: 
Deriver: 2wjc7yrh50jn6q8d39bx29vhm7b58ym1-getrandom-0.4.3-build-script.drv
Sig: main-1:IbRDpepZxT5iQBfubIzL+ry8Hfq5cNAcstTgYRKKu4nEtbqDXoVeNLVbkil1FvGStEnpwjTts5TQxsliPgcCCg==
";

    #[test]
    fn what_nix_wrote_is_read_and_written_alike() {
        let info = NarInfo::parse(WRITTEN, "test").unwrap();
        assert_eq!(info.to_string(), WRITTEN);
        assert_eq!(info.nar_size, 409_320);
        assert_eq!(info.download_size(), 195_995);
    }

    #[test]
    fn nixs_signature_holds_and_no_other() {
        let trusted: PublicKey = PUBLIC.parse().unwrap();
        let info = NarInfo::parse(WRITTEN, "test").unwrap();
        assert!(info.is_signed_by(std::slice::from_ref(&trusted)));
        let mut lying = info.clone();
        lying.nar_hash = Hash::of(b"something else");
        assert!(!lying.is_signed_by(std::slice::from_ref(&trusted)));
        let mut renamed = info.clone();
        renamed.signatures[0].key = "other-1".to_owned();
        assert!(!renamed.is_signed_by(&[trusted]));
    }

    #[test]
    fn what_lacks_a_field_is_damaged() {
        for name in ["StorePath", "URL", "NarHash", "NarSize"] {
            let text: String = WRITTEN
                .lines()
                .filter(|line| !line.starts_with(name))
                .map(|line| format!("{line}\n"))
                .collect();
            let error = NarInfo::parse(&text, "test").unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(NarInfo::parse("", "test").is_err());
    }

    const PUBLIC: &str = "main-1:L47IFfab+Qx5XD/XLTgW4hnSJGco7gxt7AN5pb0X/W8=";
}
