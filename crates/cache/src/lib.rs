//! Nix binary caches: where they are, what is in them, whom they are signed by; caches of few large files (packs), in
//! directories and OCI registries; retention; a server that lets Nix read packs.
//!
//! Copying between stores and ordinary binary caches is Nix's own (`nix copy`).

mod address;
mod directory;
mod error;
mod foreign;
mod graph;
mod hash;
mod http;
mod key;
pub mod nar;
mod narinfo;
pub mod packs;
mod path;
mod retention;
pub mod serve;
pub mod status;
mod store;

pub use address::Address;
pub use directory::Directory;
pub use error::{Error, Result};
pub use graph::{Derivation, Graph};
pub use hash::{Hash, base32};
pub use http::Http;
pub use key::{PublicKey, SecretKey, Signature};
pub use narinfo::NarInfo;
pub use path::{STORE, StorePath};
pub use retention::{Collected, Retention, now};
pub use store::{Registered, Store};
