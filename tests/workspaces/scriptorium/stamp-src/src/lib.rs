//! A tool that the build script made.

/// Where it is.
pub fn stamp() -> &'static str {
    env!("STAMP")
}
