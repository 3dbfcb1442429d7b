pub const INNER: &str = "inner";
