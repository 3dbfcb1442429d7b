//! The description of images: it is read or refused.
#![no_main]

use crateyard_description::Description;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Description::parse(text, "images.toml");
});
