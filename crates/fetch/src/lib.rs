//! Adds the files and repositories that a workspace's locks pin to the Nix store: crates by cargo,
//! Debian packages by apt, npm's packages by npm, compilers from rustup, repositories by git.
//!
//! The store path of a file with a known hash does not depend on the source of the file, so builds
//! find it.
//!
//! ```no_run
//! use crateyard_nix::Store;
//!
//! let store = Store::default();
//! let pinned = crateyard_fetch::crates::read("Cargo.lock".as_ref(), &store)?;
//! let missing = store.missing(pinned.crates.iter().map(|each| each.path.as_str()))?;
//! println!("{} crates are missing", missing.len());
//! # Ok::<(), anyhow::Error>(())
//! ```

#![warn(unreachable_pub, clippy::undocumented_unsafe_blocks)]
// `crateyard_terminal` prints, and cleans what it prints.
#![warn(clippy::print_stderr, clippy::print_stdout)]

use serde::Serialize;

pub mod crates;
pub mod debs;
pub mod downloads;
mod flake;
pub mod git;
pub mod npm;
pub mod own;
pub mod package_lock;
mod programs;
pub mod release;
pub mod toolchains;

pub use flake::{lock_path, workspace_of};

/// The numbers of files of one kind.
#[derive(Default, Serialize)]
pub struct Counts {
    /// The number of files that the locks pin.
    pub total: usize,
    /// The number of files that were already in the store.
    pub present: usize,
    /// The number of files that were added.
    pub added: usize,
}

/// A file that could not be fetched.
#[derive(Serialize)]
pub struct Missing {
    /// The name.
    pub file: String,
    /// The reason.
    pub reason: String,
}

impl Counts {
    /// Counts files of which `wanted` are missing and will be added.
    pub fn of(total: usize, wanted: usize) -> Self {
        Counts {
            total,
            present: total - wanted,
            added: wanted,
        }
    }
}
