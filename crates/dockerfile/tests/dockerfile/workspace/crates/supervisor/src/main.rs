fn main() {
    println!("{}", fleet::greet("supervisor"));
}
