//! Compiles the part in C, for the machine that the program is for.

fn main() {
    cc::Build::new().file("src/flame.c").compile("flame");
    println!("cargo::rerun-if-changed=src/flame.c");
}
