#[unsafe(no_mangle)]
pub extern "C" fn archived() -> u8 {
    4
}
