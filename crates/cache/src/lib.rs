//! Nix binary caches: their addresses, content, signatures and retention. Packs are caches of a few
//! large files, in directories and OCI registries. A server lets Nix read packs.
//!
//! Nix itself (`nix copy`) copies between stores and ordinary binary caches.
//!
//! ```no_run
//! use crateyard_cache::Directory;
//! use crateyard_nix::StorePath;
//!
//! let path: StorePath = "/nix/store/2ac5dscnf2ghi143hiwb81b55zssyvnv-hello".parse()?;
//! let cache = Directory::new("/srv/cache".as_ref());
//! if let Some(info) = cache.narinfo(path.hash())? {
//!     println!("{} takes {} bytes to download", info.path, info.download_size());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// `crateyard_terminal` prints, and cleans what it prints.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod address;
mod directory;
mod error;
mod foreign;
mod http;
pub mod packs;
mod retention;
pub mod serve;
pub mod status;

pub use address::Address;
pub use directory::Directory;
pub use error::{Error, Result};
pub use http::Http;
pub use retention::{Collected, Retention, now};
