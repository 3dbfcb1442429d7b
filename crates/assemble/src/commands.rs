//! One module for each subcommand.

pub mod audit;
pub mod bench;
pub mod build;
pub mod cache;
pub mod cat;
pub mod compare;
pub mod completions;
pub mod diff;
pub mod dockerfile;
pub mod explain;
pub mod fetch;
pub mod init;
pub mod inspect;
pub mod load;
pub mod lock;
pub mod ls;
pub mod plan;
pub mod pull;
pub mod push;
pub mod report;
pub mod save;
pub mod shell;
pub mod sign;
pub mod verify;
