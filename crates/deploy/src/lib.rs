//! Finds out what a change touches, and puts images into manifests, clusters and hosts.
//!
//! - [`affected`] compares the store paths of two evaluations.
//! - [`manifest`] finds images in Kubernetes manifests, Helm values, compose files and Quadlet
//!   units, and puts pushed references in their place. Every other byte stays.
//! - [`cluster`] compares the objects that a cluster runs with those that it would run.
//! - [`quadlet`] knows the services that units become.
//! - [`config`] reads `deploy.toml`.
//!
//! This crate starts no program and does not use the network.

pub mod affected;
pub mod cluster;
pub mod config;
pub mod manifest;
pub mod quadlet;
