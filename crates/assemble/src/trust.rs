//! Decides whether to trust an image, by the signatures on it and a policy.

mod gather;
mod judge;
pub mod policy;
pub mod tag;

pub use gather::{Gathered, gather};
pub use judge::Judgement;
pub use policy::Policy;

/// The type of a witness statement: a witness has built an image again. See docs/trust.md.
pub const REBUILD_PREDICATE: &str = "https://github.com/crateyard/crateyard/rebuild/v1";
