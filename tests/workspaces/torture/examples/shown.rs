fn main() { println!("{}", new::voice()); }
