//! The generated Dockerfile on a real engine: the crates that an edit compiles again, the exported
//! files, and the savings of a prebuilt builder.
//!
//! The tests need an engine with buildx 0.15 or newer, and a toolchain. Either
//! `CRATEYARD_BUILDER_IMAGE` names an image of the engine with Cargo, a linker and a shell, or the
//! workspace has the layout `.crateyard/layouts/builder-image`.

mod build;
mod caches;
mod compiled;
#[path = "../fixture/mod.rs"]
mod fixture;
mod results;
mod revision;
