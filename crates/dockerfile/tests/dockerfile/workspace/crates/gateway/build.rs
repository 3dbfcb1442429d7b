fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let api = std::fs::read_to_string("../../proto/api.proto").unwrap();
    println!("cargo::rustc-env=BUILT={}", api.trim());
}
