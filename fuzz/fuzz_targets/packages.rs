//! Indexes of Debian archives, and the relations in them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for package in crateyard_debian::index::parse(text, "Packages", 0).unwrap_or_default() {
        let _ = crateyard_debian::relation::parse_groups(&package.depends);
        let _ = crateyard_debian::relation::parse_list(&package.conflicts);
    }
});
