//! Adds the hashes that downloads lack to images.toml.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use crateyard_description::Description;
use crateyard_fetch::downloads::download;
use crateyard_nix::{Store, sha256_of};
use crateyard_terminal::print_line;

/// Downloads the files without a hash, and writes their hashes into images.toml. Keeps the hashes
/// that are there.
///
/// # Errors
/// When a download fails, or, with `check`, when one has no hash. The file is then unchanged.
pub fn pin(images: &Path, description: &Description, check: bool) -> Result<()> {
    let unpinned: Vec<_> = description.unpinned().collect();
    if unpinned.is_empty() {
        return Ok(());
    }
    let shown = images.display();
    if check {
        let places: Vec<&str> = unpinned.iter().map(|(part, _)| &*part.place).collect();
        bail!(
            "{shown} has no `sha256` for the downloads of {}; add it with: assemble lock",
            places.join(", ")
        );
    }
    let store = Store::new(None);
    let mut hashes = Vec::new();
    for (part, each) in &unpinned {
        let file = download(&store, part, each.url.get_ref());
        let file = file.with_context(|| format!("the download of {}", part.place))?;
        hashes.push(sha256_of(&file)?);
    }
    let text = description.with_hashes(&hashes)?;
    // If the file is a link, it stays one.
    let file = images.canonicalize()?;
    ensure!(
        std::fs::read_to_string(&file)? == description.source.text(),
        "{shown} changed while its downloads were hashed; run this again"
    );
    crateyard_disk::write(&file, text.as_bytes())
        .with_context(|| format!("cannot write {shown}"))?;
    for ((part, each), hash) in unpinned.iter().zip(&hashes) {
        let architecture = each.architecture.as_deref().unwrap_or("all");
        print_line(format!(
            "{:<16} {architecture:<8} sha256 {hash}  {}",
            part.place,
            each.url.get_ref()
        ))?;
    }
    print_line(format!("{shown} written"))
}
