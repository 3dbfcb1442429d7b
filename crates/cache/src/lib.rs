//! Nix binary caches: their addresses, content and signatures. Packs, which are caches of a few
//! large files, in directories and OCI registries. Retention. A server that lets Nix read packs.
//!
//! Nix itself (`nix copy`) copies between stores and ordinary binary caches.
//!
//! ```no_run
//! use crateyard_cache::{Directory, StorePath};
//!
//! let path: StorePath = "/nix/store/2ac5dscnf2ghi143hiwb81b55zssyvnv-hello".parse()?;
//! let cache = Directory::new("/srv/cache".as_ref());
//! if let Some(info) = cache.narinfo(path.hash())? {
//!     println!("{} takes {} bytes to download", info.path, info.download_size());
//! }
//! # Ok::<(), crateyard_cache::Error>(())
//! ```

#![warn(unreachable_pub, clippy::undocumented_unsafe_blocks)]

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
