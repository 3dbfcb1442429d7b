extern "C" {
    #[link_name = "checksum"]
    fn c_checksum(bytes: *const u8, length: usize) -> u32;
}

pub fn checksum(bytes: &[u8]) -> u32 {
    unsafe { c_checksum(bytes.as_ptr(), bytes.len()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn c_code_is_linked() {
        assert_eq!(super::checksum(b""), super::checksum(b""));
        assert_ne!(super::checksum(b"a"), super::checksum(b"b"));
    }
}
