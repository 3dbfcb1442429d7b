fn main() -> std::io::Result<()> {
    let mut count = 0;
    protocol::serve("0.0.0.0:8081", |_| {
        count += 1;
        format!("{count}\n")
    })
}
