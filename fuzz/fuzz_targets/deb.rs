//! Debian packages. The content may be compressed a thousandfold, so only a megabyte of it is read.
#![no_main]

use crateyard_unpack::deb::DebReader;
use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Read};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(deb) = DebReader::new(Cursor::new(bytes)) {
        let _ = deb.required_field("Package");
        let _ = std::io::copy(&mut deb.into_data().take(1 << 20), &mut std::io::sink());
    }
});
