//! What `resolve` and `deploy` have in common: manifests that are read, images that are built and pushed, and the places
//! where they run.

pub mod compose;
pub mod files;
pub mod kubectl;
pub mod kubernetes;
pub mod quadlet;
pub mod reasons;
pub mod settings;
pub mod ship;
pub mod watch;
