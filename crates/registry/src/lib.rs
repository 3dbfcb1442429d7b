//! A client for OCI registries. It sends only what a registry lacks, and resumes after a failure.
//!
//! Registries follow the [OCI distribution specification][spec]. An image to push is a [`Source`]:
//! an OCI image layout in a directory or in an archive, or a docker archive, from any tool.
//!
//! ```no_run
//! # async fn example() -> Result<(), crateyard_registry::Error> {
//! use crateyard_oci::Reference;
//! use crateyard_registry::{Client, Options, Source, push};
//!
//! let client = Client::new(Options::from_environment());
//! let source = Source::open("result".as_ref())?;
//! let target: Reference = "registry.example/team/gateway:v1".parse()?;
//! let report = push::push(&client, source, &target, &push::Options::default()).await?;
//! println!("{} is {}", target, report.digest);
//! # Ok(()) }
//! ```
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

mod artifact;
mod attempts;
mod auth;
mod body;
mod client;
mod credentials;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod learned;
mod locations;
pub mod progress;
pub mod pull;
pub mod push;
mod refusal;
mod repository;
mod retry;
mod source;
mod tls;
mod transport;
mod tree;
mod upload;
mod wire;

pub use artifact::Artifact;
pub use client::{Client, Environment, Options, Timeouts, run, run_on_this_thread};
pub use credentials::Credentials;
pub use error::{Error, Failure, Kind};
pub use progress::Progress;
pub use repository::{Download, Repository};
pub use retry::Retry;
pub use source::Source;
pub use tls::ClientCertificate;
