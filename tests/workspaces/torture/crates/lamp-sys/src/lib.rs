unsafe extern "C" {
    pub fn lamp_light() -> i32;
}
