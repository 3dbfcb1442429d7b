fn main() {
    println!("cargo::rustc-env=TOLD=built");
}
