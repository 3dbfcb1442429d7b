//! Compiles the module that the program holds.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=module.rs");
    let out = env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR");
    let rustc = env::var_os("RUSTC").expect("Cargo sets RUSTC");
    let status = Command::new(rustc)
        .args(["--target", "wasm32-unknown-unknown", "--edition", "2024"])
        .args(["--crate-type", "cdylib", "-O", "module.rs", "-o"])
        .arg(Path::new(&out).join("module.wasm"))
        .status();
    assert!(status.expect("rustc starts").success());
}
