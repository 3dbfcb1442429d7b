//! The subcommands, a file each.

pub mod pull;
pub mod push;
