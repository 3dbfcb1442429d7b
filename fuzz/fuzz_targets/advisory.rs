//! Advisories, and `audit.toml`: both are read or refused.
#![no_main]

use crateyard_audit::advisory::Advisory;
use crateyard_audit::policy::Policy;
use libfuzzer_sys::fuzz_target;
use semver::Version;

fuzz_target!(|text: &str| {
    if let Ok(advisory) = Advisory::parse("advisory.md", text) {
        let _ = advisory.about(&Version::new(1, 2, 3));
    }
    let _ = Policy::parse("audit.toml", text);
});
