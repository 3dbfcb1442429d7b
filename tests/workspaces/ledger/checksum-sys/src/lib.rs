extern "C" {
    #[link_name = "checksum"]
    fn c_checksum(bytes: *const u8, length: usize) -> u32;
}

pub fn checksum(bytes: &[u8]) -> u32 {
    unsafe { c_checksum(bytes.as_ptr(), bytes.len()) }
}
