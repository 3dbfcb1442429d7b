//! Finds the images that known vulnerabilities affect.
//!
//! 1. [`advisory`] and [`database`] read RustSec's advisories, [`tracker`] reads Debian's;
//! 2. [`subject`] lists the components of an image, from the documents beside it or from the plan;
//! 3. [`policy`] reads `audit.toml`, in which people ignore advisories;
//! 4. [`judge`] brings them together: a [`Finding`] for each advisory and component;
//! 5. [`vex`] writes findings as OpenVEX.
//!
//! Nothing here uses the network.
#![forbid(unsafe_code)]

pub mod advisory;
pub mod database;
mod error;
mod finding;
pub mod judge;
pub mod policy;
pub mod range;
pub mod subject;
pub mod tracker;
pub mod vex;

pub use error::Error;
pub use finding::{Component, Finding, Kind, Status};

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
