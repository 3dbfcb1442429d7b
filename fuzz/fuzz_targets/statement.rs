//! Documents about an image: its provenance, its bill of materials, and OpenVEX.
#![no_main]

use crateyard_audit::subject::Subject;
use crateyard_audit::vex;
use crateyard_attestation::provenance::{Statement, compare};
use crateyard_image::attestation::spdx::Document;
use crateyard_oci::Digest;
use libfuzzer_sys::fuzz_target;

const OTHER: &[u8] = include_bytes!("../corpus/statement/provenance");

fuzz_target!(|bytes: &[u8]| {
    let digest = Digest::of(b"");
    let other = Statement::parse(OTHER).unwrap();
    let statement = Statement::parse(bytes).ok();
    if let Some(statement) = &statement {
        let _ = statement.is_about(&digest);
        assert!(compare(statement, statement).is_empty());
        compare(&other, statement);
    }
    if let Ok(bill) = Document::parse(bytes) {
        let platform = "linux/amd64".parse().unwrap();
        Subject::new(&digest, &platform, &bill, Some(&other));
        bill.crates();
    }
    let vex: Option<vex::Document> = serde_json::from_slice(bytes).ok();
    vex.is_some_and(|document| document.is_about(&digest));
});
