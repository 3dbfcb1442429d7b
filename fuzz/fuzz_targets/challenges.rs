//! A registry's challenges in `WWW-Authenticate`: they are split, and there are no more challenges
//! than characters.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    assert!(crateyard_registry::fuzzing::challenges(text) <= text.len());
});
