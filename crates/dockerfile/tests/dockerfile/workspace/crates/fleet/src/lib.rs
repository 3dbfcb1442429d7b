pub fn greet(who: &str) -> String {
    format!("hello {who} {}", itoa::Buffer::new().format(42))
}
