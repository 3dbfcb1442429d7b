//! Whether an image is to be trusted: who has signed what about it, and what a policy asks for.

mod gather;
mod judge;
pub mod policy;
pub mod tag;

pub use gather::{Gathered, gather};
pub use judge::Judgement;
pub use policy::Policy;

/// The type of the statement of somebody who has built an image again: see docs/trust.md.
pub const REBUILD_PREDICATE: &str = "https://github.com/crateyard/crateyard/rebuild/v1";
