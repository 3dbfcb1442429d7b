//! The parts of OCI images from any place and any author.
//!
//! - Names: [`Digest`], [`Reference`], [`ImageName`], [`Platform`], [`media_type`].
//! - Documents: [`Descriptor`], [`Manifest`], [`Index`], [`ImageConfig`], and [`Document`], which
//!   keeps the bytes that a digest covers.
//! - Blobs: [`Blobs`] is the trait of all sources of blobs. [`Layout`] reads them from a layout
//!   directory, an OCI archive or a docker archive.
//! - Layers: [`compression`] and [`tar`]. `crates/unpack` decompresses them.
//! - Limits: [`limits::Budget`], which every reader draws from.
//!
//! Everything here reads hostile input: memory and time are bounded, no path from the input is
//! opened, and no symbolic link is followed.
//!
//! ```no_run
//! use crateyard_oci::{Layout, Platform};
//!
//! let layout = Layout::open("result".as_ref())?;
//! let platform: Platform = "linux/amd64".parse().expect("OS/ARCHITECTURE");
//! let image = layout.image(None, Some(&platform))?;
//! let manifest = layout.manifest(&image.descriptor)?;
//! for layer in &manifest.layers {
//!     println!("{} {} bytes", layer.digest, layer.size);
//! }
//! # Ok::<(), crateyard_oci::Error>(())
//! ```
#![forbid(unsafe_code)]

mod blobs;
pub mod compression;
mod config;
mod descriptor;
pub mod digest;
mod document;
mod error;
mod images;
mod json;
pub mod layout;
pub mod limits;
mod manifest;
pub mod media_type;
mod platform;
pub mod reference;
mod stored;
pub mod tar;
mod walk;

pub use blobs::{Blobs, read_document, read_document_bytes};
pub use config::{EmptyObject, ExecutionConfig, HealthcheckConfig, History, ImageConfig, RootFs};
pub use descriptor::{Annotations, Descriptor, annotation};
pub use digest::{Digest, DigestAlgorithm, Hasher, ParseDigestError};
pub use document::Document;
pub use error::{Error, Result};
pub use images::{Image, choose, images};
pub use json::to_bytes;
pub use layout::Layout;
pub use limits::{Budget, Limits};
pub use manifest::{Index, LayoutMarker, Manifest};
pub use platform::Platform;
pub use reference::{ImageName, ParseReferenceError, Reference, TagOrDigest};
pub use stored::{Section, Stored};
pub use walk::walk;
