//! Debian packages: signed indexes, resolution, `debian.lock`, `.deb` files.
//!
//! The way from a name to bytes, one module each:
//!
//! 1. [`apt`] downloads what the archive publishes, by the machine's own configuration;
//! 2. [`release`] checks the archive's signature and with it the hash of each index;
//! 3. [`index`] reads the indexes ([`control`], [`version`], [`relation`] are their grammar);
//! 4. [`resolve`] turns named sets of packages into closures;
//! 5. [`lock`] is the file that pins the result;
//! 6. [`deb`] reads the package files themselves.

pub mod apt;
pub mod control;
pub mod deb;
pub mod file;
pub mod index;
pub mod lock;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod version;

/// Symbolic links that Debian's alternatives system would have made, as JSON: path without leading slash to target. Nix reads the
/// same list.
pub const ALTERNATIVES: &str = include_str!("alternatives.json");
