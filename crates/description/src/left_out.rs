//! The parts of a member that its units do not see without a declaration (`files` of
//! `[crates.NAME]`), as in `nix/cargo/source.nix`.

/// The directories of a package that only tests see.
pub const TEST_DIRECTORIES: [&str; 3] = ["tests", "benches", "examples"];

/// Whether a file at the top of a package is a document by its name.
pub fn is_document(name: &str) -> bool {
    let beginnings = ["LICENSE", "LICENCE", "CHANGELOG"];
    name.ends_with(".md") || beginnings.iter().any(|it| name.starts_with(it))
}
