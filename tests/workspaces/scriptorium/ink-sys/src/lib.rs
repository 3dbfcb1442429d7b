unsafe extern "C" {
    pub fn ink_left() -> i32;
}
