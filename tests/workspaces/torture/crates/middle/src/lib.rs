pub fn middle() -> u8 {
    250u8.wrapping_add(u8::from(cfg!(feature = "more")))
}
