//! The contents of layers and images.
//!
//! `description` lowers `images.toml` to this form once. Nix, `assemble build --engine cargo` and
//! the generated Dockerfile all read it, and `image` makes layers and images from it.
//!
//! - [`LayerSpec`] and its [`Source`]s say what a layer holds; [`Config`] says how an image is run.
//! - [`targets`] lists what a workspace can build, to check a description against.
//! - In a [`lowered`] layer, a [`Placeholder`] stands for a value that only a build knows: the path
//!   of a program, of a package, of another image. [`fill`] puts the value in its place, as
//!   nix/image/fill.nix does.
//!
//! ```
//! use crateyard_spec::{LayerSpec, Placeholder, FormatVersion, fill, lowered};
//!
//! let layer: lowered::Layer = serde_json::from_str(
//!     r#"{"name": "files", "sources": [
//!         {"kind": "copy", "to": "/etc/app",
//!          "from": {"placeholder": "workspace", "path": "etc/app"}}
//!     ]}"#,
//! )?;
//! let mut stand = |placeholder: Placeholder| match placeholder {
//!     Placeholder::Workspace { path } => Ok(format!("/home/me/{path}").into()),
//!     other => panic!("{other:?}"),
//! };
//! let spec: LayerSpec = fill(&layer.spec(Default::default()), &mut stand)?;
//! assert_eq!(spec.comment, "files");
//! # Ok::<(), serde_json::Error>(())
//! ```
#![forbid(unsafe_code)]

mod attributes;
mod capabilities;
mod compression;
mod config;
mod crates_io;
mod layer;
pub mod lowered;
mod mode;
mod placeholder;
mod port;
mod repository;
mod step;
pub mod targets;
mod version;

pub use attributes::{Attributes, attribute_value, base64_values, check_attribute};
pub use capabilities::{CAPABILITY_ATTRIBUTE, CAPABILITY_NAMES, Capabilities};
pub use compression::{Compression, CompressionAlgorithm};
pub use config::{Config, Healthcheck, Variable};
pub use crates_io::is_crates_io;
pub use layer::*;
pub use mode::Mode;
pub use placeholder::{Binary, Packages, Placeholder, SetReference, fill};
pub use port::{Port, Wrong};
pub use repository::repository_owner;
pub use step::StepSource;
pub use version::{FormatVersion, VERSION};
