//! Decides how the program is linked.
//!
//! Built with the workspace's `seed` profile for one of its two targets, the program stands on its
//! own: no standard library, no C library, no start files. Every other build (tests, clippy, the
//! workspace's other profiles) links the same library into an ordinary program, because those
//! profiles unwind and their features are shared with crates that need `std`. The `seed` profile is
//! the only one that optimizes for size, which is how it is told apart.

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

/// Libraries that a dependency names although nothing in them is used (`libc`, by way of
/// `cpufeatures`). Empty ones are put in their place: where the seed is built for another
/// architecture there is no C library for it.
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
