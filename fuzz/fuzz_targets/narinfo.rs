//! A cache's description of a path: it reads back the same after it is written.
#![no_main]

use crateyard_nix::NarInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(info) = NarInfo::parse(text, "here") {
        let again = NarInfo::parse(&info.to_string(), "here");
        assert_eq!(again.ok(), Some(info));
    }
});
