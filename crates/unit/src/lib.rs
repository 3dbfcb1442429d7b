//! One unit of a Cargo build: what it is, and how to run it.
