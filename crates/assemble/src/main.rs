//! Crateyard's command line.

fn main() {}
