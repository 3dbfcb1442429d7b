//! Drives Nix: hands it the derivations that are missing in the order that ends soonest.
//!
//! Nix starts ready derivations in the order of their names. Here the closure of `.drv` files is
//! read ([`closure`]), the store is asked what it has ([`serve`]), and what is missing goes to
//! long-lived `nix-store --serve --write` processes, longest remaining path first ([`schedule`],
//! [`driver`]). Nix itself does every build, so the store paths are those of `nix build`.
//!
//! How long a derivation takes is remembered on the machine ([`durations`]) or guessed from its
//! source ([`guess`]); [`simulate`] tells from that what other machines would make of it.

pub mod closure;
pub mod driver;
pub mod durations;
pub mod environment;
mod error;
pub mod event;
pub mod guess;
pub mod kind;
pub mod pipelining;
pub mod process;
pub mod reason;
pub mod record;
pub mod schedule;
pub mod scratch;
pub mod serve;
pub mod simulate;
pub mod tasks;

pub use error::{Error, Result};
