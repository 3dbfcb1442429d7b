//! Decoders refuse streams that ask for much memory.
#![allow(missing_docs)]

use std::io::Read;

use crateyard_oci::compression::CompressionFormat;
use crateyard_testing::mutations::is_bounded;
use crateyard_unpack::decompress;
use flate2::Crc;

/// Makes the beginning of an xz stream whose block asks for a dictionary. The format gives its size
/// by a code up to 40, four gigabytes.
fn xz_with_dictionary(code: u8) -> Vec<u8> {
    let checksum = |bytes: &[u8]| {
        let mut crc = Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let flags = [0, 1];
    let block = [2, 0, 0x21, 1, code, 0, 0, 0];
    let mut bytes = b"\xfd7zXZ\0".to_vec();
    for part in [&flags[..], &block[..]] {
        bytes.extend(part);
        bytes.extend(checksum(part));
    }
    // One uncompressed chunk of a byte.
    bytes.extend([1, 0, 0, b'a']);
    bytes
}

#[test]
fn a_stream_that_asks_for_much_memory_is_refused() {
    if !is_bounded("a_stream_that_asks_for_much_memory_is_refused") {
        return;
    }
    let first = |code| {
        let stream = xz_with_dictionary(code);
        let mut byte = [0];
        let read = decompress(CompressionFormat::Xz, &stream[..])
            .and_then(|mut xz| xz.read_exact(&mut byte));
        read.map(|()| byte)
    };
    // 64 MiB, the largest of xz's presets, and 128 MiB, as in the archives of Rust's releases.
    for code in [28, 30] {
        assert_eq!(first(code).unwrap(), *b"a", "{code}");
    }
    for code in 31..=40 {
        let said = first(code).unwrap_err().to_string();
        assert!(said.contains("mem"), "{code}: {said}");
    }
}
