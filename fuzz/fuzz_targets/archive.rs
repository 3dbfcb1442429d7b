//! An OCI or docker archive, as a file.
#![no_main]

use crateyard_oci::Layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("crateyard-fuzz-{}", std::process::id()));
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    if let Ok(layout) = Layout::open(&path) {
        for image in layout.images().unwrap_or_default().iter().take(4) {
            if let Ok(manifest) = layout.manifest(&image.descriptor) {
                let _ = layout.config(&manifest);
            }
        }
    }
});
