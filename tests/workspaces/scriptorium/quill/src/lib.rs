//! A tool that lies in the package itself.

/// Where it is.
pub const TOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/quill.sh");
