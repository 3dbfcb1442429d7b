// The headers are not copied: `include` names the package's own directory.
use std::process::Command;

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let out = std::env::var("OUT_DIR").unwrap();
    let run = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success());
    };
    run("cc", &["-c", "-Iinclude", "c/ink.c", "-o", &format!("{out}/ink.o")]);
    run("ar", &["crD", &format!("{out}/libink.a"), &format!("{out}/ink.o")]);
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=ink");
    println!("cargo::metadata=include={here}/include");
}
