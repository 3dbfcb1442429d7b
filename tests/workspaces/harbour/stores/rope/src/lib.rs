pub fn described() -> &'static str {
    "a rope by an inherited path"
}
