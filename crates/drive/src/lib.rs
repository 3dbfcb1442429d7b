//! Drives Nix: gives it the missing derivations in the order that finishes soonest.
//!
//! Nix itself starts ready derivations in the order of their names. This crate reads the closure of
//! `.drv` files, asks the store which outputs it has ([`serve`]), and sends the
//! missing derivations to long-lived `nix-store --serve --write` processes, the longest remaining
//! path first ([`schedule`], [`driver`]). Nix does every build, so the store paths are those of
//! `nix build`.
//!
//! The duration of a derivation is remembered ([`durations`]) or guessed from its source
//! ([`guessed_duration`]). [`simulate`] predicts from these how long a build takes on other
//! machines.
//!
//! ```
//! use crateyard_drive::schedule::{Graph, Order, Task};
//! use crateyard_drive::simulate::simulate;
//!
//! let task = |name: &str, inputs: &[usize]| Task {
//!     name: name.to_owned(),
//!     inputs: inputs.to_vec(),
//!     seconds: 2.0,
//! };
//! let graph = Graph::new(vec![task("a", &[]), task("b", &[]), task("c", &[0, 1])])?;
//! assert_eq!(simulate(&graph, Order::LongestPath, 1).seconds, 6.0);
//! assert_eq!(simulate(&graph, Order::LongestPath, 2).seconds, 4.0);
//! # Ok::<(), crateyard_drive::Error>(())
//! ```

pub mod build_record;
pub mod driver;
pub mod durations;
mod error;
pub mod event;
pub mod guessed_duration;
pub mod kind;
pub mod pipelining;
pub mod reason;
pub mod schedule;
pub mod scratch;
pub mod serve;
pub mod simulate;
pub mod tasks;

pub use error::{Error, Result};
