// Stands for a compiler that is built from its source: the tool is made here.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/stamp.sh"), "echo \"$1, stamped\"\n").unwrap();
    // A variable of the package's own that leads there.
    println!("cargo::rustc-env=STAMP={out}/stamp.sh");
}
