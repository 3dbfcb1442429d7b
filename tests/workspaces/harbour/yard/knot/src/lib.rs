pub fn described() -> &'static str {
    concat!(
        "a knot ",
        env!("CARGO_PKG_VERSION"),
        " of another workspace"
    )
}
