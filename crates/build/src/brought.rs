//! The programs that Nix needs before it can build units (nix/bootstrap), as far as this command
//! line contains them or the user's earlier builds left them.

use std::path::Path;

use anyhow::Result;
use crateyard_flake::programs::{self, Kept, lock};
use crateyard_nix::Store;
use crateyard_terminal::note;

/// The programs in this command line: name and bytes. `build.rs` writes this list.
const BROUGHT: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/brought.rs"));

/// Adds the programs in this command line to a store, and those that were kept for the user if the
/// workspace's Crateyard pins them, so that no build has to compile them. A flake with another
/// revision of Crateyard can't use those in this command line, but they do no harm. If the store is
/// read-only, the build reports that later.
pub(crate) fn bring(workspace: &Path, store: Option<&str>) {
    let store = Store::new(store.map(str::to_owned));
    let kept = || match Kept::find() {
        Some(kept) => kept.bring(&store, lock::pinned(workspace, &store).as_ref()),
        None => Ok(()),
    };
    if let Err(error) = add(&store).and_then(|()| kept()) {
        note!("the bootstrap programs are not in {store}, and a build may compile them: {error:#}");
    }
}

fn add(store: &Store) -> Result<()> {
    if BROUGHT.is_empty() {
        return Ok(());
    }
    let wanted = BROUGHT.iter();
    let wanted: Vec<_> = wanted
        .map(|&(name, bytes)| (programs::path_of(store, name, bytes), bytes))
        .collect();
    let missing = store.missing(wanted.iter().map(|(path, _)| path.as_str()))?;
    for (path, bytes) in wanted {
        if missing.contains(&path) {
            programs::add(store, &path, bytes)?;
        }
    }
    Ok(())
}
