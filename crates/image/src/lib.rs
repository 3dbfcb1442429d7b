//! OCI images as data: layers, config, manifest, index, layout.
//!
//! The crate has two halves.
//!
//! *Making* images: [`spec`] holds the files that the Nix side writes, [`layer`] turns a layer
//! specification into one compressed blob, [`assemble`] joins layers and configuration into an OCI
//! image layout, [`multi`] joins layouts of several platforms, [`archive`] writes a layout as one
//! tar file, [`attestation`] says what an image is made of, [`import`] takes over images of others. All of them are
//! deterministic: the bytes depend on the specification and on the files
//! it names, never on the clock, the machine, the order of directory listings or the number of
//! cores.
//!
//! *Reading* images, whoever wrote them: [`layout`] opens layout directories, OCI archives and
//! docker archives; [`verify`] checks every byte of one, [`files`] lists and reads the files in it,
//! [`packages`] the Debian packages and crates, [`diff`] compares two. They are written for hostile
//! input: bounded memory, no path taken from the input is ever opened, no symbolic link is followed.
#![forbid(unsafe_code)]

pub mod archive;
pub mod assemble;
pub mod attestation;
pub mod compress;
pub mod deb;
pub mod decompress;
pub mod diff;
pub mod digest;
mod error;
pub mod files;
pub mod import;
pub mod layer;
pub mod layout;
pub mod multi;
pub mod oci;
pub mod output;
pub mod packages;
pub mod reference;
mod section;
pub mod spec;
pub mod tar;
mod time;
pub mod verify;

pub use error::{Error, Result};
