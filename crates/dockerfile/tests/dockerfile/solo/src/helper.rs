pub fn told() -> &'static str {
    env!("TOLD")
}
