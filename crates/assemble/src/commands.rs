//! One module for each subcommand.

pub mod build;
pub mod cat;
pub mod completions;
pub mod diff;
pub mod dockerfile;
pub mod fetch;
pub mod inspect;
pub mod load;
pub mod lock;
pub mod ls;
pub mod plan;
pub mod pull;
pub mod push;
pub mod report;
pub mod save;
pub mod verify;
