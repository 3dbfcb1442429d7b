//! Finds out what a change touches, and brings images into manifests, clusters and hosts.
//!
//! - [`affected`] compares the store paths of two evaluations.
//! - [`manifest`] finds images in Kubernetes manifests, Helm values, compose files and Quadlet
//!   units, and puts pushed references in their place. Every other byte stays.
//! - [`cluster`] compares what a cluster runs with what it would run.
//! - [`config`] is `deploy.toml`.
//!
//! Nothing here starts a program or uses the network.

pub mod affected;
pub mod cluster;
pub mod config;
pub mod manifest;
