fn main() {
    println!("{} {} {} {}", fleet::greet("gateway"), marks::mark!(), env!("BUILT"), env!("CARGO_PKG_VERSION"));
}
