//! Asks a store which paths it has.

use std::collections::BTreeSet;

use super::{BATCH, Store, run};
use crate::{Error, Hash, Result, StorePath};

/// A store's registration of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The path.
    pub path: StorePath,
    /// Hash of its archive.
    pub nar_hash: Hash,
    /// Size of its archive in bytes.
    pub nar_size: u64,
    /// The derivation that made it.
    pub deriver: Option<StorePath>,
    /// The paths that it refers to, sorted.
    pub references: Vec<StorePath>,
}

impl Store {
    /// Returns the paths that are not in the store.
    ///
    /// # Errors
    /// Fails if nix-store fails.
    pub fn missing<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<BTreeSet<String>> {
        let missing = self.lines(&["--check-validity", "--print-invalid"], paths)?;
        Ok(missing.into_iter().collect())
    }

    /// Returns the paths that are in the store.
    ///
    /// # Errors
    /// Fails if nix-store fails.
    pub fn present(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>> {
        let texts: Vec<String> = paths.iter().map(StorePath::to_string).collect();
        let missing = self.missing(texts.iter().map(String::as_str))?;
        let is_present = |path: &&StorePath| !missing.contains(&path.to_string());
        Ok(paths.iter().filter(is_present).cloned().collect())
    }

    /// Returns the store's registrations of paths.
    ///
    /// # Errors
    /// Fails if the store lacks one, or if nix-store fails.
    pub fn registered(&self, paths: &BTreeSet<StorePath>) -> Result<Vec<Registered>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = paths.iter().map(StorePath::to_string).collect();
        let lines = self.lines(&["--dump-db"], texts.iter().map(String::as_str))?;
        parse_registrations(&lines).ok_or_else(|| {
            let reason = "the output is not a list of registrations";
            Error::damaged("nix-store --dump-db", reason)
        })
    }

    fn lines<'p>(
        &self,
        options: &[&str],
        paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<Vec<String>> {
        let paths: Vec<&str> = paths.into_iter().collect();
        paths.iter().try_for_each(|path| self.expect_path(path))?;
        let mut lines = Vec::new();
        for batch in paths.chunks(BATCH) {
            lines.extend(run(self.command()?.args(options).args(batch))?);
        }
        Ok(lines)
    }
}

impl Store {
    /// Checks that a text names something in the store. `nix-store` would take another text for an
    /// option.
    pub(super) fn expect_path(&self, text: &str) -> Result<()> {
        let below = text.strip_prefix(self.directory());
        if below.is_some_and(|below| below.starts_with('/')) {
            return Ok(());
        }
        let reason = format!("expected {}/HASH-NAME", self.directory());
        Err(Error::syntax("store path", text, reason))
    }
}

/// Parses registrations: six lines a path, the last with the number of references, then one line
/// for each reference.
fn parse_registrations(lines: &[String]) -> Option<Vec<Registered>> {
    let mut lines = lines.iter();
    let mut found = Vec::new();
    while let Some(path) = lines.next() {
        let nar_hash = lines.next()?.parse().ok()?;
        let nar_size = lines.next()?.parse().ok()?;
        let deriver = lines.next()?;
        let count: usize = lines.next()?.parse().ok()?;
        let mut references: Vec<StorePath> = (0..count)
            .map(|_| lines.next()?.parse().ok())
            .collect::<Option<_>>()?;
        references.sort();
        found.push(Registered {
            path: path.parse().ok()?,
            nar_hash,
            nar_size,
            deriver: deriver.parse().ok(),
            references,
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_an_option_of_nix() {
        let store = Store::default();
        for text in [
            "--option",
            "-r",
            "",
            "/nix/stores/a",
            "/etc/passwd",
            "/nix/store",
        ] {
            let refused = store.missing([text]).unwrap_err().to_string();
            assert!(refused.contains("/nix/store/HASH-NAME"), "{refused}");
            assert!(!store.substitute(text));
        }
        let refused = store.download("--help", "name").unwrap_err().to_string();
        assert!(refused.contains("looks like an option"), "{refused}");
    }
}
