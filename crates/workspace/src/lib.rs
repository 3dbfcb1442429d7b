//! A workspace as commands see it. It may be somebody else's, so none of its files is trusted.
//!
//! - [`files`] checks the files that commands read by name.
//! - [`root`] finds the workspace around a directory. [`described`] reads its `images.toml`.
//! - [`git`] finds the tracked files; [`mirror`] copies them.
//! - [`cargo`] calls the machine's Cargo.
//! - [`state`] holds the files that commands keep for a workspace; [`history`] keeps the inputs of
//!   its images.
//!
//! ```no_run
//! use crateyard_workspace::{described, git};
//!
//! let workspace = ".".as_ref();
//! git::check(workspace)?;
//! println!("{}", described::names(workspace)?.join(" "));
//! # Ok::<(), anyhow::Error>(())
//! ```

#![warn(unreachable_pub, clippy::undocumented_unsafe_blocks)]
// `crateyard_terminal` prints, and cleans what it prints.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod cargo;
pub mod described;
pub mod files;
pub mod git;
pub mod history;
pub mod mirror;
pub mod root;
pub mod state;
