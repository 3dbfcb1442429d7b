//! Which images known vulnerabilities reach.
//!
//! 1. [`advisory`] and [`database`] read RustSec's advisories, [`tracker`] reads Debian's;
//! 2. [`subject`] says what is in an image, from the documents beside it;
//! 3. [`policy`] is what people say about advisories in `audit.toml`;
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

/// What most functions here return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
