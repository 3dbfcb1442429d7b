//! Reads the contents of layers and Debian packages.
//!
//! This is apart from `crates/oci` and `crates/debian`, because whoever only fetches and builds
//! needs no decoder, and zstd's takes long to compile.
#![forbid(unsafe_code)]

pub mod deb;
mod decompress;
pub mod layer;

pub use decompress::decompress;
