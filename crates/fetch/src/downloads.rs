//! Fetches the files that images.toml downloads. Nix finds them in the store by their
//! hashes (nix/fetch.nix), and downloads only the missing ones itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_description::DownloadedPart;
use crateyard_nix::{Store, sha256_of};
use crateyard_workspace::described;

use super::{Counts, Missing};

/// A download with its hash.
struct Wanted {
    part: DownloadedPart,
    url: String,
    sha256: String,
}

/// Adds the downloads of a workspace to the store. Returns the ones that failed, each with the
/// reason.
///
/// # Errors
/// When a file has another hash than images.toml, or Nix fails.
pub fn fetch(workspace: &Path, store: &Store) -> Result<(Counts, Vec<Missing>)> {
    let (wanted, mut lacking) = read(workspace, store);
    let missing = store.missing(wanted.keys().map(String::as_str))?;
    let mut counts = Counts::of(wanted.len(), missing.len());
    for wanted in missing.iter().filter_map(|path| wanted.get(path)) {
        let file = match download(store, &wanted.part, &wanted.url) {
            Ok(file) => file,
            Err(error) => {
                counts.added -= 1;
                lacking.push(lacks(&wanted.part, format!("{error:#}")));
                continue;
            }
        };
        let found = sha256_of(&file)?;
        if found != wanted.sha256 {
            bail!(
                "the download of {}: {} has the SHA-256 {found}, and images.toml has {}\n  try: \
                 find out who changed it; to take the new file, remove `sha256` there and run \
                 `assemble lock`",
                wanted.part.place,
                wanted.url,
                wanted.sha256
            );
        }
    }
    Ok((counts, lacking))
}

/// Reads the downloads, by their paths in the store, and lists those without a hash.
fn read(workspace: &Path, store: &Store) -> (BTreeMap<String, Wanted>, Vec<Missing>) {
    let mut wanted = BTreeMap::new();
    let images = workspace.join("images.toml");
    // Builds report the errors of a description.
    let Some(described) = described::read(&images).ok() else {
        return (wanted, Vec::new());
    };
    for part in described.downloads.values() {
        for download in &part.downloads {
            let Some(sha256) = &download.sha256 else {
                continue;
            };
            let each = Wanted {
                part: part.clone(),
                url: download.url.get_ref().clone(),
                sha256: sha256.clone(),
            };
            wanted.insert(store.path_of(&store_name(&part.file), sha256), each);
        }
    }
    let unpinned = described.unpinned().map(|(part, _)| {
        let reason = "images.toml has no `sha256` for it; run `assemble lock`";
        lacks(part, reason.to_owned())
    });
    (wanted, unpinned.collect())
}

fn lacks(part: &DownloadedPart, reason: String) -> Missing {
    Missing {
        file: format!("the download of {}", part.place),
        reason,
    }
}

/// Downloads the file of a part without checking its hash.
///
/// # Errors
/// When the download fails. The error says why.
pub fn download(store: &Store, part: &DownloadedPart, url: &str) -> Result<PathBuf> {
    store
        .download(url, &store_name(&part.file))
        .with_context(|| format!("cannot download {url}"))
}

/// Returns the name of a part's file in the store, as in nix/download/part.nix.
fn store_name(file: &str) -> String {
    format!("download-{file}")
}
