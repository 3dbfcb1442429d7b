pub const UNIX: bool = cfg!(unix);
