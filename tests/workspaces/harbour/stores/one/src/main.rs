fn main() {
    println!("{} in {}", env!("CARGO_PKG_NAME"), file!());
}
