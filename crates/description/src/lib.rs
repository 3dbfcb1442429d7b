//! Reads images.toml, the one description of what each image holds.
//!
//! [`Description::parse`] reads the text and finds all errors that the text shows by itself.
//! [`Description::normalize`] adds what only the workspace knows (its packages, its files) and
//! returns the [`normal::Description`] that builders read, in which nothing is left to decide.

mod calls;
mod check;
mod defaults;
mod dialect;
pub mod left_out;
mod lower;
mod model;
mod native;
pub mod normal;
mod normalize;
pub mod own_part;
mod parse;
mod pins;
mod problem;
mod reader;
pub mod schema;
mod sources;
mod value;
mod workspace;

pub use check::is_reserved;
pub use crateyard_spec::targets::{Package, TARGETS_FORMAT, Target, Targets, TargetsError};
pub use model::*;
pub use native::{Pinned, closure, needed, pinned, resolved_packages, undecided};
pub use problem::{Problem, Problems, Source};
pub use sources::{Found, Sources};
pub use value::{TargetPlatform, image_name, join_within, last_part};
pub use workspace::{LockedPackage, Workspace, locked_packages, names_of};
