//! Manifests of Rust's release channels, and toolchain files.
#![no_main]

use std::path::PathBuf;

use crateyard_toolchain::file::ToolchainFile;
use crateyard_toolchain::manifest::ChannelManifest;
use libfuzzer_sys::fuzz_target;

const HOST: &str = "x86_64-unknown-linux-gnu";

fuzz_target!(|text: &str| {
    if let Ok(manifest) = ChannelManifest::parse(text, "a manifest") {
        let _ = manifest.release();
        for component in ["rustc", "clippy", "rust-src"] {
            let _ = manifest.platform_of(component, HOST);
            if let Ok(archive) = manifest.archive(component, HOST) {
                assert!(archive.path.starts_with("dist/"));
            }
        }
    }
    for name in ["rust-toolchain", "rust-toolchain.toml"] {
        let _ = ToolchainFile::parse(text, PathBuf::from(name));
    }
});
