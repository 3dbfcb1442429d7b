#[unsafe(no_mangle)]
pub extern "C" fn shared() -> u8 {
    3
}
