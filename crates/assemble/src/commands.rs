//! One module for each subcommand.

pub mod build;
pub mod dockerfile;
pub mod fetch;
pub mod lock;
pub mod pull;
pub mod push;
