pub const NAME: &str = "a chart beside it";
