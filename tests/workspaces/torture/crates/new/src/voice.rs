pub fn voice() -> impl std::fmt::Display + use<> {
    if cfg!(feature = "loud") { "LOUD" } else { "low" }
}
