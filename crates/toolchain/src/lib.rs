//! Compilers from releases of the Rust project.
//!
//! A workspace asks for a release ([`choice`]). The channel's manifest ([`manifest`]) lists the
//! release's components. `toolchain.lock` ([`lock`]) pins each component by two hashes: of its
//! archive on the distribution server ([`server`]) and of its files ([`component`]). So a component
//! has the same path in the Nix store whether it comes from the machine's rustup ([`rustup`]), from
//! the server or from a binary cache.

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
