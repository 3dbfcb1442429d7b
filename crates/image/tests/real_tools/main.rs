//! Other tools read our images, and we read theirs: skopeo, umoci, runc, dpkg, tar, docker, and the
//! JSON schemas of the image specification.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod parts;
mod readers;
mod writers;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::*;
use crateyard_image::archive::{ArchiveFormat, Selection, save};
use crateyard_image::files::{Listing, Options};
use crateyard_image::verify::verify;
use crateyard_oci::Layout;
use crateyard_spec::{CAPABILITY_ATTRIBUTE, CAPABILITY_NAMES, Capabilities, base64_values};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

fn archive(layout: &Layout, format: ArchiveFormat, path: &Path) {
    let selection = Selection {
        format,
        references: vec!["demo:1.0".parse().unwrap()],
        platform: None,
        epoch: EPOCH,
        documents: true,
    };
    save(layout, &selection, path).unwrap();
}

fn digest(layout: &Layout) -> String {
    layout
        .image(None, None)
        .unwrap()
        .descriptor
        .digest
        .to_string()
}

fn assert_sound(path: &Path) {
    let report = verify(path).unwrap();
    assert!(
        report.is_sound(),
        "{}: {:?}",
        path.display(),
        report.findings
    );
    assert!(report.images > 0 && report.entries > 0);
}
