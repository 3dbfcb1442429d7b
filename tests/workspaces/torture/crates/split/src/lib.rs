pub fn features() -> String {
    format!("host {} target {}", cfg!(feature = "host"), cfg!(feature = "target"))
}
