//! The parts that the services share: the gateway's API as types, a client for it, and the
//! conventions of all three (logs, durations, waiting times, the small workload for trials).

pub mod api;
pub mod backoff;
pub mod client;
pub mod duration;
pub mod logs;
pub mod workload;

pub use backoff::Backoff;
pub use client::{Client, ClientError, local_url};
