//! docker's `config.json`: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = crateyard_registry::fuzzing::credentials(text, "r.example");
});
