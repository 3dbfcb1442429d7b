//! The programs that Nix needs before it can build units (nix/bootstrap), as far as this command
//! line contains them or the user's earlier builds left them.

use anyhow::Result;
use crateyard_flake::programs::{self, Kept};
use crateyard_nix::Store;
use crateyard_terminal::note;

/// The programs in this command line: name and bytes. `build.rs` writes this list.
const BROUGHT: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/brought.rs"));

/// Adds the programs in this command line, and those that were kept for the user, to a store, so
/// that no build has to compile them. A flake with another revision of Crateyard can't use them,
/// but they do no harm. If the store is read-only, the build reports that later.
pub fn bring(store: Option<&str>) {
    let store = Store::new(store.map(str::to_owned));
    let kept = || Kept::find().map_or(Ok(()), |kept| kept.bring(&store));
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
