//! The index of a pack cache: each path that it lists lies within its pack.
#![no_main]

use crateyard_cache::packs::PackIndex;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = PackIndex::parse(bytes, "here") else {
        return;
    };
    for (pack, entry, info) in index.infos("here").unwrap_or_default() {
        let pack = &index.packs[pack];
        assert!(pack.entries[entry].offset + info.download_size() <= pack.size);
    }
});
