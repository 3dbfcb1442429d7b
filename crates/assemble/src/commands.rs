//! One module for each subcommand.

pub mod fetch;
pub mod lock;
