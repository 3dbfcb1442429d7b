//! Stands in for the crate of this name: shows that `[patch]` is honoured.

pub struct Buffer(String);

impl Buffer {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(String::new())
    }

    pub fn format(&mut self, number: impl std::fmt::Display) -> &str {
        self.0 = format!("{number} (patched)");
        &self.0
    }
}
