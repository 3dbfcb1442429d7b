pub const SAYS: &str = "stale";
