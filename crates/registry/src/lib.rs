//! A client for OCI registries: pushes what is missing, and resumes.
//!
//! The registry's side is the [OCI distribution specification][spec]; the image's side is a [`Source`]: an OCI
//! image layout in a directory or in an archive, or a docker archive, whichever tool wrote it.
//!
//! ```no_run
//! # async fn example() -> Result<(), registry::Error> {
//! use crateyard_oci::Reference;
//! use registry::{Client, Options, Source, push};
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
pub mod hostile;
mod memory;
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
mod trust;
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
