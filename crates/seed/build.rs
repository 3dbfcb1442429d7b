//! Decides how the program is linked.
//!
//! With the workspace's `seed` profile and one of its two targets, the program stands on its own:
//! it has no standard library, no C library and no start files. Every other build (tests, clippy,
//! the workspace's other profiles) links the same library into an ordinary program, because those
//! profiles unwind, and crates that need `std` share their features. This script knows the `seed`
//! profile by its optimization for size, which no other profile has.

use std::path::PathBuf;
use std::{env, fs, io};

/// Link arguments that a C compiler driver and `ld.lld` both understand.
const STANDALONE: [&str; 6] = [
    "-nostdlib",
    "-static",
    "-no-pie",
    "-znoexecstack",
    "-znorelro",
    "-znoseparate-code",
];

/// Libraries that a dependency names and does not use (`libc`, by way of `cpufeatures`). The script
/// makes empty ones, because a machine that builds the seed for another architecture has no C
/// library for it.
const UNUSED_LIBRARIES: [&str; 5] = ["c", "m", "rt", "pthread", "util"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(bare)");
    let target = env::var("TARGET").unwrap_or_default();
    let for_size = env::var("OPT_LEVEL").is_ok_and(|level| level == "s");
    let known = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
    if !for_size || !known.contains(&target.as_str()) {
        return Ok(());
    }
    println!("cargo::rustc-cfg=bare");
    for argument in STANDALONE {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    let directory = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for library in UNUSED_LIBRARIES {
        fs::write(directory.join(format!("lib{library}.a")), "!<arch>\n")?;
    }
    println!("cargo::rustc-link-search=native={}", directory.display());
    Ok(())
}
