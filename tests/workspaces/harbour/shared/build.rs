fn main() {
    println!("cargo::rustc-env=BUILT_BY=a shared script");
}
