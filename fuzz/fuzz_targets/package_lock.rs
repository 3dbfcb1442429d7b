//! npm's manifests and locks: what is accepted names no file outside of its directory.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The crate around it has far more dependencies than this check.
#[path = "../../crates/fetch/src/package_lock.rs"]
mod package_lock;

const MANIFEST: &str = r#"{"name": "a"}"#;
const LOCK: &str = r#"{"packages": {"": {}}}"#;

fuzz_target!(|text: &str| {
    let _ = package_lock::check(text, LOCK);
    if package_lock::check(MANIFEST, text).is_ok() {
        let lock: serde_json::Value = serde_json::from_str(text).unwrap();
        for (place, _) in lock["packages"].as_object().unwrap() {
            assert!(!place.starts_with('/') && place.split('/').all(|part| part != ".."));
        }
    }
});
