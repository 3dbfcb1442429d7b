//! Release files of Debian's archives and other vendors'.
#![no_main]

use std::path::Path;

use crateyard_debian::release::{Date, Release};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(release) = Release::parse(text) {
        let _ = release.check(Path::new("InRelease"), "stable", Date::now(), true);
        let _ = release.date.to_string();
    }
});
