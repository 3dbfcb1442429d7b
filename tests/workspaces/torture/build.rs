fn main() {
    println!("cargo::rustc-check-cfg=cfg(built)");
    println!("cargo::rustc-cfg=built");
    println!("cargo::rustc-env=TORTURE_TOLD={}", host_tool::told());
    println!("cargo::rustc-link-arg-bins=-Wl,--as-needed");
    println!("cargo:rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/made.rs"), "pub const MADE: u8 = 9;\n").unwrap();
}
