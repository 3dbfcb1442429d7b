pub fn described() -> &'static str {
    "patched by the configuration"
}
