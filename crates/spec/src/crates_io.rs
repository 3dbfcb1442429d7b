//! crates.io, as `Cargo.lock` names it.

/// The name of crates.io in all locks that Cargo writes.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Whether a package's source is crates.io: by its git index, which locks name, or by its sparse
/// index.
pub fn is_crates_io(source: &str) -> bool {
    source == CRATES_IO || source == "sparse+https://index.crates.io/"
}
