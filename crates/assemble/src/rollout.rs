//! The shared parts of `resolve` and `deploy`: reading manifests, building and pushing images, and
//! running them on clusters and hosts.

pub mod compose;
pub mod files;
mod jobs;
pub mod kubectl;
pub mod kubernetes;
pub mod quadlet;
pub mod reasons;
pub mod settings;
pub mod ship;
pub mod watch;
