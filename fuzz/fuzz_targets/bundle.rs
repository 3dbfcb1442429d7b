//! Signatures beside an image, and the roots that they are checked with.
#![no_main]

use crateyard_signing::{Bundle, PublicKey, TrustedRoot};
use libfuzzer_sys::fuzz_target;

const KEY: &str = include_str!("../../crates/assemble/tests/keys/signer.pub");
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fuzz_target!(|bytes: &[u8]| {
    let key = PublicKey::from_pem(KEY).unwrap();
    if let Ok(bundle) = Bundle::parse(bytes) {
        let _ = bundle.predicate_type();
        let _ = bundle.verify(&key, DIGEST);
        bundle.has_certificate();
    }
    let _ = TrustedRoot::parse(bytes);
    let _ = PublicKey::from_pem(&String::from_utf8_lossy(bytes));
});
