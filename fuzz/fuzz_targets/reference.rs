//! References, names, platforms and digests.
#![no_main]

use crateyard_oci::{Digest, ImageName, Platform, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = text.parse::<Digest>();
    let _ = text.parse::<ImageName>();
    let _ = text.parse::<Platform>();
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
});
