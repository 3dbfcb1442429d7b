//! Facts that earlier runs on this machine learned about registries. They save requests and
//! bytes, but are never trusted: the registry may decline a mount, and says itself how far an
//! upload got. Losing them costs a transfer, never correctness.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crateyard_oci::{Digest, Reference};
use serde::{Deserialize, Serialize};

/// The number of blobs that are kept for a registry, and of repositories for each blob.
const MAX_BLOBS: usize = 20_000;
const MAX_REPOSITORIES: usize = 4;
/// The number of tags that are kept for a registry.
const MAX_TAGS: usize = 2_000;

/// The directory of learned facts, if there is one.
pub(crate) struct Learned {
    directory: Option<PathBuf>,
}

/// The facts about one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The repositories that had a blob, the most recent last.
    #[serde(default)]
    blobs: BTreeMap<Digest, Vec<String>>,
    /// The digests that tags named, by `REPOSITORY:TAG`.
    #[serde(default)]
    tags: BTreeMap<String, Digest>,
    /// Whether the registry lacked the referrers API.
    #[serde(default)]
    pub lacks_referrers: bool,
}

impl Known {
    /// Returns the repositories other than `own` that had `digest`, the most recent first.
    pub(crate) fn elsewhere(&self, digest: &Digest, own: &str) -> Vec<String> {
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

    /// Notes that `repository` has `digest`.
    pub(crate) fn add(&mut self, digest: &Digest, repository: &str) {
        let repositories = self.blobs.entry(digest.clone()).or_default();
        repositories.retain(|known| known != repository);
        repositories.push(repository.to_owned());
        let surplus = repositories.len().saturating_sub(MAX_REPOSITORIES);
        repositories.drain(..surplus);
    }

    /// Whether any repository had `digest`.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    /// Whether anything is known of `repository`.
    pub(crate) fn has_repository(&self, repository: &str) -> bool {
        self.blobs
            .values()
            .any(|repositories| repositories.iter().any(|known| known == repository))
    }

    /// Returns the digest that `tag` named when this machine last set or saw it.
    pub(crate) fn tag(&self, repository: &str, tag: &str) -> Option<&Digest> {
        self.tags.get(&format!("{repository}:{tag}"))
    }

    /// Notes that `tag` names `digest`.
    pub(crate) fn set_tag(&mut self, repository: &str, tag: &str, digest: &Digest) {
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

/// An upload that an earlier run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The URL for its next chunk.
    pub location: String,
}

impl Learned {
    pub(crate) fn new(directory: Option<PathBuf>) -> Learned {
        Learned { directory }
    }

    /// Reads the facts about the registry of `reference`.
    pub(crate) fn known(&self, reference: &Reference) -> Known {
        self.known_path(reference)
            .and_then(|path| read(&path))
            .unwrap_or_default()
    }

    /// Stores `known`. Pushes that run at the same time may lose each other's additions.
    pub(crate) fn set_known(&self, reference: &Reference, mut known: Known) {
        known.trim();
        if let Some(path) = self.known_path(reference) {
            write(&path, &known);
        }
    }

    /// Returns the upload of `digest` to the repository of `reference` that an earlier run began.
    pub(crate) fn begun(&self, reference: &Reference, digest: &Digest) -> Option<Begun> {
        read(&self.begun_path(reference, digest)?)
    }

    /// Stores an upload, so that the next run continues it if this one ends early.
    pub(crate) fn set_begun(&self, reference: &Reference, digest: &Digest, begun: &Begun) {
        if let Some(path) = self.begun_path(reference, digest) {
            write(&path, begun);
        }
    }

    /// Forgets an upload.
    pub(crate) fn end(&self, reference: &Reference, digest: &Digest) {
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

/// Makes a file name from a registry's name, with a safe character for each that a file system may
/// reject.
fn file_name(registry: &str) -> String {
    registry.replace([':', '[', ']'], "_")
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes a file, whole or not at all. It does not wait for the disk, because the facts may be
/// lost.
/// Only the user can read the file, because anyone with an upload's URL can write to that upload.
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
    // A full or read-only disk must not fail a push.
    let _ = write();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_a_blob_are_remembered_latest_first() {
        let directory = tempfile::tempdir().unwrap();
        let learned = Learned::new(Some(directory.path().to_owned()));
        let target: Reference = "[::1]:5000/own".parse().unwrap();
        let digest = Digest::of(b"");
        let mut known = learned.known(&target);
        for repository in ["a", "b", "own", "c", "d", "b"] {
            known.add(&digest, repository);
        }
        learned.set_known(&target, known);
        let known = learned.known(&target);
        assert_eq!(known.elsewhere(&digest, "own"), ["b", "d", "c"]);
        assert!(
            learned
                .known(&"other.example/own".parse().unwrap())
                .elsewhere(&digest, "")
                .is_empty()
        );
    }

    #[test]
    fn uploads_are_kept_for_the_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let learned = Learned::new(Some(directory.path().to_owned()));
        let target: Reference = "r.example/a".parse().unwrap();
        let begun = Begun {
            location: "https://r.example/v2/a/blobs/uploads/1?_state=x".to_owned(),
        };
        learned.set_begun(&target, &Digest::of(b""), &begun);
        assert_eq!(learned.begun(&target, &Digest::of(b"")), Some(begun));
        assert_eq!(
            learned.begun(&"r.example/b".parse().unwrap(), &Digest::of(b"")),
            None
        );
        let path = learned.begun_path(&target, &Digest::of(b"")).unwrap();
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        learned.end(&target, &Digest::of(b""));
        assert_eq!(learned.begun(&target, &Digest::of(b"")), None);
    }

    #[test]
    fn nothing_is_remembered_without_a_directory() {
        let learned = Learned::new(None);
        let target: Reference = "r.example/a".parse().unwrap();
        learned.set_known(
            &target,
            Known {
                lacks_referrers: true,
                ..Known::default()
            },
        );
        assert_eq!(learned.known(&target), Known::default());
    }
}
