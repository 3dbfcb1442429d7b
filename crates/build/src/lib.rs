//! Fetches what a workspace pins, and builds its images: the commands `assemble fetch` and
//! `assemble build`, and what other commands need of them.
//!
//! The program of this crate, `fetch-and-build`, has these two commands alone. It needs half the
//! crates of the command line, so that `make images` starts to build sooner on a fresh machine. No
//! release and no `cargo install` brings it.
// `crateyard_terminal` prints, and cleans what it prints.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod brought;
pub mod build;
pub mod build_times;
pub mod failure;
pub mod fetch;
pub mod findings;
pub mod flake_file;
mod flake_lock;
pub mod image_build;
pub mod invocation;
pub mod placed;
mod unseen;
