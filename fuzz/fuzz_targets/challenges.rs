//! What a registry asks for in `WWW-Authenticate`: it is split, with no more challenges than characters.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    assert!(registry::fuzzing::challenges(text) <= text.len());
});
