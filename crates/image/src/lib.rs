//! Makes and verifies OCI images. `crateyard-oci` defines the parts of an image.
//!
//! The crate has two halves.
//!
//! *Making* images: [`spec`] holds the files that the Nix side writes, [`layer`] turns a layer
//! specification into one compressed blob, [`layout`] joins layers and configuration into an OCI
//! image layout, [`multi`] joins layouts of several platforms, [`archive`] writes a layout as one
//! tar file, [`attestation`] documents an image's contents, and [`import`] copies images of others.
//! All of them are deterministic: the bytes depend on the specification and on the files that it
//! names, never on the clock, the machine, the order of directory listings or the number of cores.
//!
//! *Examining* images by any author: [`verify`] checks every byte of an image, [`files`] lists and
//! reads its files, [`packages`] lists its Debian packages and crates, and [`diff`] compares two
//! images. They draw on the budget of their blobs ([`crateyard_oci::limits`]), so hostile input
//! ends them early.
#![forbid(unsafe_code)]

pub mod archive;
pub mod attestation;
pub mod auditable;
pub mod base;
pub mod compress;
pub mod deb;
pub mod diff;
mod error;
pub mod files;
pub mod import;
pub mod layer;
pub mod layout;
pub mod license;
pub mod multi;
pub mod output;
pub mod packages;
pub mod spec;
pub mod verify;

pub use error::{Error, Result};
