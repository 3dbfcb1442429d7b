//! A node in one image: starts k3s, or the gateway and its supervisors.

fn main() {}
