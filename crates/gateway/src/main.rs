//! The HTTP API where supervisors register, report and are listed.

fn main() {}
