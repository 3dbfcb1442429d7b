fn main() -> std::io::Result<()> {
    protocol::serve("0.0.0.0:8080", |path| {
        format!("hello, {}\n", path.trim_start_matches('/'))
    })
}
