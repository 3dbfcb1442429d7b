//! Descriptors, manifests, indexes and image configurations.
#![no_main]

use crateyard_oci::{Descriptor, Digest, Document, ImageConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<Descriptor>(bytes);
    let _ = serde_json::from_slice::<ImageConfig>(bytes);
    let copy = bytes.to_vec().into();
    if let Ok(document) = Document::parse(copy, Digest::of(bytes), None) {
        assert_eq!(document.descriptor().size, bytes.len() as u64);
    }
});
