//! The Nix store as a place for files with known hashes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use crateyard_cache::{Hash, base32};
use crateyard_drive::{creation, environment};
use sha2::{Digest, Sha256};

/// How many paths one call of nix-store gets, because they must fit into the command line.
const BATCH: usize = 1000;

/// A store, as the options and the environment name it.
pub struct Store {
    /// `--store`, if it is not the store that Nix uses by default.
    url: Option<String>,
    /// The directory that store paths begin with. A store elsewhere in the file system still has
    /// paths in `/nix/store`.
    directory: String,
}

impl Store {
    /// The store at `url`, or Nix's own.
    pub fn new(url: Option<String>) -> Self {
        let directory = std::env::var("NIX_STORE_DIR").unwrap_or_else(|_| "/nix/store".to_owned());
        Store { url, directory }
    }

    /// The store path of a file with this name and SHA-256.
    ///
    /// <https://nix.dev/manual/nix/latest/protocols/store-path>, for a flat fixed output.
    pub fn path_of(&self, name: &str, sha256: &str) -> String {
        let inner = hex(&Sha256::digest(format!("fixed:out:sha256:{sha256}:")));
        let fingerprint = format!("output:out:sha256:{inner}:{}:{name}", self.directory);
        let digest = base32(&fold(&Sha256::digest(fingerprint)));
        format!("{}/{digest}-{name}", self.directory)
    }

    /// The store path of a tree with this name. `sha256` is the hash of the tree as a Nix archive.
    ///
    /// Like [`Store::path_of`], but for a recursive fixed output.
    pub fn path_of_tree(&self, name: &str, sha256: &str) -> String {
        let fingerprint = format!("source:sha256:{sha256}:{}:{name}", self.directory);
        let digest = base32(&fold(&Sha256::digest(fingerprint)));
        format!("{}/{digest}-{name}", self.directory)
    }

    /// Whether the store has a tree of this name. `hash` is the hash of the tree as a Nix archive.
    pub fn has_tree(&self, name: &str, hash: &Hash) -> bool {
        let path = self.path_of_tree(name, &hash.base16());
        crate::place::physical(Path::new(&path), self.url.as_deref()).exists()
    }

    /// Adds a tree under its own name, and checks that it gets the expected path.
    pub fn add_tree(&self, tree: &Path, expected: &str) -> Result<()> {
        let mut command = self.command()?;
        command
            .args(["--recursive", "--add-fixed", "sha256"])
            .arg(tree);
        let output = run(&mut command)?;
        let added = String::from_utf8_lossy(&output.stdout);
        if added.trim() != expected {
            bail!(
                "{} was added as {}, expected {expected}",
                tree.display(),
                added.trim()
            );
        }
        Ok(())
    }

    /// Whether a binary cache from the machine's settings has provided a path.
    pub fn substitute(&self, path: &str) -> bool {
        let realise = || {
            let mut command = self.command()?;
            run(command.args(["--quiet", "--realise", path]))
        };
        realise().is_ok()
    }

    /// Downloads a file with Nix, and returns its path.
    ///
    /// # Errors
    /// Nix's message if the download fails.
    pub fn download(&self, url: &str, name: &str) -> Result<PathBuf> {
        creation::create(self.url.as_deref())?;
        let mut command = Command::new("nix-prefetch-url");
        if let Some(url) = &self.url {
            command.arg("--store").arg(url);
        }
        command.args(["--option", "download-attempts", "2"]);
        command.args(["--option", "connect-timeout", "10"]);
        command.args(["--print-path", "--name", name, url]);
        let output = run(&mut command)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let path = said.lines().nth(1).context("Nix names no path")?;
        Ok(crate::place::physical(Path::new(path), self.url.as_deref()))
    }

    /// The paths that are not in the store.
    pub fn missing<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<BTreeSet<String>> {
        let paths: Vec<&str> = paths.into_iter().collect();
        let mut missing = BTreeSet::new();
        for batch in paths.chunks(BATCH) {
            let mut command = self.command()?;
            command
                .args(["--check-validity", "--print-invalid"])
                .args(batch);
            let output = run(&mut command)?;
            missing.extend(
                String::from_utf8_lossy(&output.stdout)
                    .lines()
                    .map(str::to_owned),
            );
        }
        Ok(missing)
    }

    /// Adds files under their own names, and checks that each gets its expected path.
    pub fn add(&self, files: &[(PathBuf, String)]) -> Result<()> {
        self.add_hashed("sha256", files)
    }

    /// The same with hashes of another algorithm, as Nix names it.
    pub fn add_hashed(&self, algorithm: &str, files: &[(PathBuf, String)]) -> Result<()> {
        for batch in files.chunks(BATCH) {
            let mut command = self.command()?;
            command
                .args(["--add-fixed", algorithm])
                .args(batch.iter().map(|(file, _)| file));
            let output = run(&mut command)?;
            let output = String::from_utf8_lossy(&output.stdout);
            let added: Vec<&str> = output.lines().collect();
            if added.len() != batch.len() {
                bail!(
                    "nix-store --add-fixed added {} of {} files",
                    added.len(),
                    batch.len()
                );
            }
            for ((file, expected), added) in batch.iter().zip(added) {
                if added != expected {
                    bail!(
                        "{} was added as {added}, expected {expected}",
                        file.display()
                    );
                }
            }
        }
        Ok(())
    }

    /// A call of nix-store on this store, which exists then.
    fn command(&self) -> Result<Command> {
        creation::create(self.url.as_deref())?;
        let mut command = environment::nix("nix-store");
        if let Some(url) = &self.url {
            command.arg("--store").arg(url);
        }
        Ok(command)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Some(url) => write!(f, "the store {url}"),
            None => f.write_str("the store"),
        }
    }
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| {
        let program = command.get_program().to_string_lossy().into_owned();
        format!("{program} cannot be started; install Nix first: apt-get install nix-bin")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let program = command.get_program().to_string_lossy().into_owned();
        bail!(
            "{program} failed: {}",
            said.trim().trim_start_matches("error: ")
        );
    }
    Ok(output)
}

/// The SHA-256 of a file in lower-case hexadecimal digits.
pub fn sha256_of(path: &Path) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let mut file = std::fs::File::open(path).with_context(context)?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).with_context(context)?;
    Ok(hex(&hasher.finalize()))
}

/// Bytes in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
            directory: "/nix/store".to_owned(),
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
