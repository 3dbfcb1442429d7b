//! Making and verifying OCI images. What an image is, is said by `crateyard-oci`.
//!
//! The crate has two halves.
//!
//! *Making* images: [`spec`] holds the files that the Nix side writes, [`layer`] turns a layer
//! specification into one compressed blob, [`assemble`] joins layers and configuration into an OCI
//! image layout, [`multi`] joins layouts of several platforms, [`archive`] writes a layout as one
//! tar file, [`attestation`] says what an image is made of, [`import`] takes over images of others.
//! All of them are deterministic: the bytes depend on the specification and on the files it names,
//! never on the clock, the machine, the order of directory listings or the number of cores.
//!
//! *Examining* images, whoever wrote them: [`verify`] checks every byte of one, [`files`] lists and
//! reads the files in it, [`packages`] the Debian packages and crates, [`diff`] compares two. They
//! draw on the budget of what they read ([`crateyard_oci::limits`]), so hostile input ends them
//! early.
#![forbid(unsafe_code)]

pub mod archive;
pub mod assemble;
pub mod attestation;
pub mod auditable;
pub mod beneath;
pub mod compress;
pub mod deb;
pub mod diff;
mod error;
pub mod files;
pub mod import;
pub mod layer;
pub mod license;
pub mod multi;
pub mod output;
pub mod packages;
pub mod spec;
pub mod text;
pub mod time;
pub mod verify;

pub use error::{Error, Result};
