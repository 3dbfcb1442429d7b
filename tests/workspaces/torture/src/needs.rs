fn main() { println!("{}", inner::INNER); }
