//! Decides how the program is linked.
//!
//! Built with the workspace's `seed` profile for one of its two targets, the program stands on its own: no standard
//! library, no C library, no start files. Every other build (tests, clippy, the workspace's other profiles) links the
//! same library into an ordinary program, because those profiles unwind and their features are shared with crates
//! that need `std`. The `seed` profile is the only one that optimizes for size, which is how it is told apart.

use std::env;

/// Link arguments that a C compiler driver and `ld.lld` both understand.
const STANDALONE: [&str; 7] = [
    "-nostdlib",
    "-static",
    "-no-pie",
    "-znoexecstack",
    "-znorelro",
    "-zmax-page-size=4096",
    "-znoseparate-code",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(bare)");
    let target = env::var("TARGET").unwrap_or_default();
    let for_size = env::var("OPT_LEVEL").is_ok_and(|level| level == "s");
    let known = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"].contains(&target.as_str());
    if for_size && known {
        println!("cargo::rustc-cfg=bare");
        for argument in STANDALONE {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
