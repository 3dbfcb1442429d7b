fn main() {
    let (built, version) = (env!("BUILT"), env!("CARGO_PKG_VERSION"));
    println!("{} {} {built} {version}", fleet::greet("gateway"), marks::mark!());
}
