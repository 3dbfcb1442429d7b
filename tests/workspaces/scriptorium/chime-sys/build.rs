// A library that lies in the package; only who links the program needs it.
fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    println!("cargo::rustc-link-search=native={here}/lib");
    println!("cargo::rustc-link-lib=dylib=chime");
}
