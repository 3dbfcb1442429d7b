//! Tar streams, with the budget of a layer.
#![no_main]

use std::io::Read;

use crateyard_oci::{Budget, tar};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let budget = Budget::new(Default::default());
    let mut reader = tar::Reader::within(bytes, &budget);
    while let Ok(Some(_)) = reader.next_entry() {
        let _ = reader.by_ref().take(100).read_to_end(&mut Vec::new());
    }
});
