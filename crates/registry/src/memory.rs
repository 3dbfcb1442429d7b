//! What this machine remembers of registries, to save requests and bytes. Nothing of it is trusted: a mount is asked
//! for and may be declined, an upload is asked how far it got. Losing it costs a transfer, never correctness.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crateyard_oci::{Digest, Reference};
use serde::{Deserialize, Serialize};

/// How many blobs are remembered of a registry, and in how many repositories each.
const MAX_BLOBS: usize = 20_000;
const MAX_REPOSITORIES: usize = 4;
/// How many tags of a registry are remembered.
const MAX_TAGS: usize = 2_000;

/// The directory where things are remembered, if there is one.
pub(crate) struct Memory {
    directory: Option<PathBuf>,
}

/// What is remembered of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Repositories that had a blob, the latest last.
    #[serde(default)]
    blobs: BTreeMap<Digest, Vec<String>>,
    /// What the tags of a repository named, as `REPOSITORY:TAG`.
    #[serde(default)]
    tags: BTreeMap<String, Digest>,
    /// Whether the registry lacks the referrers API, as far as known.
    #[serde(default)]
    pub lacks_referrers: bool,
}

impl Known {
    /// Repositories other than `own` that had `digest`, the most recent first.
    pub fn elsewhere(&self, digest: &Digest, own: &str) -> Vec<String> {
        let repositories = self
            .blobs
            .get(digest)
            .map(Vec::as_slice)
            .unwrap_or_default();
        repositories
            .iter()
            .rev()
            .filter(|repository| *repository != own)
            .cloned()
            .collect()
    }

    /// Remembers that `repository` has `digest`.
    pub fn add(&mut self, digest: &Digest, repository: &str) {
        let repositories = self.blobs.entry(digest.clone()).or_default();
        repositories.retain(|known| known != repository);
        repositories.push(repository.to_owned());
        let surplus = repositories.len().saturating_sub(MAX_REPOSITORIES);
        repositories.drain(..surplus);
    }

    /// Whether any repository had `digest`.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    /// Whether anything is known of `repository`.
    pub fn has_repository(&self, repository: &str) -> bool {
        self.blobs
            .values()
            .any(|repositories| repositories.iter().any(|known| known == repository))
    }

    /// What `tag` named when it was last set or seen from here.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<&Digest> {
        self.tags.get(&format!("{repository}:{tag}"))
    }

    /// Remembers what `tag` names.
    pub fn set_tag(&mut self, repository: &str, tag: &str, digest: &Digest) {
        self.tags
            .insert(format!("{repository}:{tag}"), digest.clone());
    }

    fn trim(&mut self) {
        self.blobs
            .retain(|_, repositories| !repositories.is_empty());
        while self.blobs.len() > MAX_BLOBS {
            self.blobs.pop_first();
        }
        while self.tags.len() > MAX_TAGS {
            self.tags.pop_first();
        }
    }
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// Where its next chunk goes.
    pub location: String,
}

impl Memory {
    pub fn new(directory: Option<PathBuf>) -> Memory {
        Memory { directory }
    }

    /// What is remembered of the registry of `reference`.
    pub fn known(&self, reference: &Reference) -> Known {
        self.known_path(reference)
            .and_then(|path| read(&path))
            .unwrap_or_default()
    }

    /// Remembers `known`. Pushes that run at the same time may forget each other's additions.
    pub fn set_known(&self, reference: &Reference, mut known: Known) {
        known.trim();
        if let Some(path) = self.known_path(reference) {
            write(&path, &known);
        }
    }

    /// The upload of `digest` to the repository of `reference` that an earlier run began.
    pub fn begun(&self, reference: &Reference, digest: &Digest) -> Option<Begun> {
        read(&self.begun_path(reference, digest)?)
    }

    /// Remembers an upload; it is continued by the next run should this one end early.
    pub fn set_begun(&self, reference: &Reference, digest: &Digest, begun: &Begun) {
        if let Some(path) = self.begun_path(reference, digest) {
            write(&path, begun);
        }
    }

    /// Forgets an upload.
    pub fn end(&self, reference: &Reference, digest: &Digest) {
        if let Some(path) = self.begun_path(reference, digest) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn known_path(&self, reference: &Reference) -> Option<PathBuf> {
        Some(
            self.directory
                .as_ref()?
                .join("known")
                .join(format!("{}.json", file_name(reference.registry()))),
        )
    }

    fn begun_path(&self, reference: &Reference, digest: &Digest) -> Option<PathBuf> {
        let key = format!(
            "{}/{}@{digest}",
            reference.registry(),
            reference.repository()
        );
        let name = Digest::of(key.as_bytes());
        Some(
            self.directory
                .as_ref()?
                .join("uploads")
                .join(format!("{}.json", name.hex())),
        )
    }
}

/// A registry's name without what file systems may dislike.
fn file_name(registry: &str) -> String {
    registry.replace([':', '[', ']'], "_")
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Whole or not at all, but without waiting for the disk: see the module's first lines. Readable by the user alone,
/// since an upload's address is a key to it.
fn write<T: Serialize>(path: &Path, value: &T) {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(path);
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.persist(path)?;
        Ok(())
    };
    // A full or read-only disk must not stop a push.
    let _ = write();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_a_blob_are_remembered_latest_first() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(Some(directory.path().to_owned()));
        let target: Reference = "[::1]:5000/own".parse().unwrap();
        let digest = Digest::of(b"");
        let mut known = memory.known(&target);
        for repository in ["a", "b", "own", "c", "d", "b"] {
            known.add(&digest, repository);
        }
        memory.set_known(&target, known);
        let known = memory.known(&target);
        assert_eq!(known.elsewhere(&digest, "own"), ["b", "d", "c"]);
        assert!(
            memory
                .known(&"other.example/own".parse().unwrap())
                .elsewhere(&digest, "")
                .is_empty()
        );
    }

    #[test]
    fn uploads_are_kept_for_the_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(Some(directory.path().to_owned()));
        let target: Reference = "r.example/a".parse().unwrap();
        let begun = Begun {
            location: "https://r.example/v2/a/blobs/uploads/1?_state=x".to_owned(),
        };
        memory.set_begun(&target, &Digest::of(b""), &begun);
        assert_eq!(memory.begun(&target, &Digest::of(b"")), Some(begun));
        assert_eq!(
            memory.begun(&"r.example/b".parse().unwrap(), &Digest::of(b"")),
            None
        );
        let path = memory.begun_path(&target, &Digest::of(b"")).unwrap();
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        memory.end(&target, &Digest::of(b""));
        assert_eq!(memory.begun(&target, &Digest::of(b"")), None);
    }

    #[test]
    fn nothing_is_remembered_without_a_directory() {
        let memory = Memory::new(None);
        let target: Reference = "r.example/a".parse().unwrap();
        memory.set_known(
            &target,
            Known {
                lacks_referrers: true,
                ..Known::default()
            },
        );
        assert_eq!(memory.known(&target), Known::default());
    }
}
