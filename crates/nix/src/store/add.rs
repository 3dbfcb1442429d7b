//! Adds files to a store.

use std::path::{Path, PathBuf};

use super::{BATCH, Store, run};
use crate::{Error, Hash, Result, creation, environment};

/// Settings for a place that may not be reachable, where there is another one to ask. By default,
/// Nix tries five times, which takes 5 s without a network.
const GIVES_UP_SOON: [&str; 6] = [
    "--option",
    "download-attempts",
    "2",
    "--option",
    "connect-timeout",
    "10",
];

impl Store {
    /// Whether the store has a tree of this name. `hash` is the hash of the tree as a Nix archive.
    pub fn has_tree(&self, name: &str, hash: &Hash) -> bool {
        self.physical(self.path_of_tree(name, &hash.base16()))
            .exists()
    }

    /// Adds a tree under its own name, and checks that it gets the expected path.
    ///
    /// # Errors
    /// Fails if Nix fails, or the tree is not the expected one.
    pub fn add_tree(&self, tree: &Path, expected: &str) -> Result<()> {
        let mut command = self.command()?;
        command
            .args(["--recursive", "--add-fixed", "sha256"])
            .arg(tree);
        let added = run(&mut command)?;
        expect(tree, added.first().map_or("", String::as_str), expected)
    }

    /// Fetches a path from the binary caches in the machine's settings, and returns whether that
    /// worked.
    pub fn substitute(&self, path: &str) -> bool {
        let realise = || {
            self.expect_path(path)?;
            let mut command = self.command()?;
            command.args(GIVES_UP_SOON);
            run(command.args(["--quiet", "--realise", path]))
        };
        realise().is_ok()
    }

    /// Downloads a file with Nix, and returns its path.
    ///
    /// # Errors
    /// Fails if the address or the name looks like an option, or with Nix's message if the download
    /// fails.
    pub fn download(&self, url: &str, name: &str) -> Result<PathBuf> {
        for text in [url, name] {
            if text.starts_with('-') {
                let reason = "it looks like an option";
                return Err(Error::syntax("download", text, reason));
            }
        }
        creation::create(self.url())?;
        let mut command = environment::nix("nix-prefetch-url");
        self.name_in(&mut command);
        command.args(GIVES_UP_SOON);
        command.args(["--print-path", "--name", name, url]);
        match run(&mut command)?.get(1) {
            Some(path) => Ok(self.physical(path)),
            None => Err(odd("nix-prefetch-url", "it names no path".to_owned())),
        }
    }

    /// Adds files under their own names, and checks that each gets its expected path.
    ///
    /// # Errors
    /// Fails if Nix fails, or a file is not the expected one.
    pub fn add(&self, files: &[(PathBuf, String)]) -> Result<()> {
        self.add_hashed("sha256", files)
    }

    /// Does the same with hashes of another algorithm, by Nix's name for it.
    ///
    /// # Errors
    /// Fails if Nix fails, or a file is not the expected one.
    pub fn add_hashed(&self, algorithm: &str, files: &[(PathBuf, String)]) -> Result<()> {
        for batch in files.chunks(BATCH) {
            let mut command = self.command()?;
            command
                .args(["--add-fixed", algorithm])
                .args(batch.iter().map(|(file, _)| file));
            let added = run(&mut command)?;
            if added.len() != batch.len() {
                let reason = format!("it added {} of {} files", added.len(), batch.len());
                return Err(odd("nix-store --add-fixed", reason));
            }
            for ((file, expected), added) in batch.iter().zip(&added) {
                expect(file, added, expected)?;
            }
        }
        Ok(())
    }
}

fn expect(file: &Path, added: &str, expected: &str) -> Result<()> {
    if added == expected {
        return Ok(());
    }
    Err(Error::Added {
        file: file.to_owned(),
        added: added.to_owned(),
        expected: expected.to_owned(),
    })
}

/// Returns the error for a program with unexpected output.
fn odd(program: &str, reason: String) -> Error {
    Error::damaged(program, reason)
}
