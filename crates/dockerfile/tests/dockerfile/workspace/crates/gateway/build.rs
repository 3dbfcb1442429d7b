fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BUILT={}", std::fs::read_to_string("../../proto/api.proto").unwrap().trim());
}
