//! The store paths of files and trees with known hashes.

use sha2::{Digest, Sha256};

use super::Store;
use crate::Hash;
use crate::hash::base32;

impl Store {
    /// Returns the store path of a file with this name and SHA-256.
    ///
    /// <https://nix.dev/manual/nix/latest/protocols/store-path>, for a flat fixed output.
    pub fn path_of(&self, name: &str, sha256: &str) -> String {
        let inner = Hash::of(format!("fixed:out:sha256:{sha256}:").as_bytes()).base16();
        let fingerprint = format!("output:out:sha256:{inner}:{}:{name}", self.directory);
        let digest = base32(&fold(&Sha256::digest(fingerprint)));
        format!("{}/{digest}-{name}", self.directory)
    }

    /// Returns the store path of a tree with this name. `sha256` is the hash of the tree as a Nix
    /// archive.
    ///
    /// Like [`Store::path_of`], but for a recursive fixed output.
    pub fn path_of_tree(&self, name: &str, sha256: &str) -> String {
        let fingerprint = format!("source:sha256:{sha256}:{}:{name}", self.directory);
        let digest = base32(&fold(&Sha256::digest(fingerprint)));
        format!("{}/{digest}-{name}", self.directory)
    }
}

/// Shortens a hash to the 20 bytes of a store path: folds the remaining bytes over them.
fn fold(hash: &[u8]) -> [u8; 20] {
    let mut folded = [0; 20];
    for (place, byte) in hash.iter().enumerate() {
        folded[place % 20] ^= byte;
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STORE;

    /// The output of `nix-store --print-fixed-path sha256 HASH NAME` with Nix 2.8.
    const KNOWN: &[(&str, &str, &str)] = &[
        (
            "serde-1.0.219.crate",
            "5f0e2c6947e6a9e9c4a2b8e0cc2ec2a3f36a1d0b6f5f1b4e1a1f0cd2c9b3a7d1",
            "/nix/store/j3r98lsjyv9cc2qmnchi9n2dfkhy8ni4-serde-1.0.219.crate",
        ),
        (
            "serde-1.0.219.crate",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "/nix/store/c3ljcagrx9fas0xg9rqgbqnkmb2n8mis-serde-1.0.219.crate",
        ),
        (
            "libc6_2.36-9-deb12u14_amd64.deb",
            "5f0e2c6947e6a9e9c4a2b8e0cc2ec2a3f36a1d0b6f5f1b4e1a1f0cd2c9b3a7d1",
            "/nix/store/459p0vbz9jf2dxbdi5zsv97f4pjiqi90-libc6_2.36-9-deb12u14_amd64.deb",
        ),
        (
            "libc6_2.36-9-deb12u14_amd64.deb",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "/nix/store/xyp5blfzbf0bnmdl2fmvcr90q9r1x7qh-libc6_2.36-9-deb12u14_amd64.deb",
        ),
        (
            "a",
            "5f0e2c6947e6a9e9c4a2b8e0cc2ec2a3f36a1d0b6f5f1b4e1a1f0cd2c9b3a7d1",
            "/nix/store/6b0xzsv2a3zba3zz7xnxrbnm5pspz6vc-a",
        ),
        (
            "a",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "/nix/store/19k94y693b5mi3rbb0f3y9c4zq1jc3z0-a",
        ),
    ];

    fn store() -> Store {
        Store {
            url: None,
            directory: STORE.to_owned(),
        }
    }

    /// The output of `nix-store --print-fixed-path --recursive sha256 HASH a` with Nix 2.8.
    #[test]
    fn paths_of_trees_are_those_that_nix_computes() {
        assert_eq!(
            store().path_of_tree("a", &"0".repeat(64)),
            "/nix/store/pkprgjg3irwr8bbfp4rfjvd1qbqpbpa4-a"
        );
    }

    #[test]
    fn paths_are_those_that_nix_computes() {
        let store = store();
        for (name, sha256, path) in KNOWN {
            assert_eq!(store.path_of(name, sha256), *path);
        }
    }
}
