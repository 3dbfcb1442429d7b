//! Compilers from releases of the Rust project.
//!
//! A workspace asks for a release ([`choice`]), the channel's manifest ([`manifest`]) says which components it has, and
//! `toolchain.lock` ([`lock`]) pins each by two hashes: of its archive on the distribution server ([`server`]) and of its
//! files ([`component`]). So a component may come from the machine's rustup ([`rustup`]), from the server or from a binary
//! cache, and is the same path in the Nix store.

pub mod channel;
pub mod choice;
pub mod component;
mod error;
pub mod file;
pub mod lock;
pub mod manifest;
pub mod rustup;
pub mod server;

pub use channel::Channel;
pub use choice::{Choice, Member, choose};
pub use error::{Error, Result};
pub use lock::Lock;
