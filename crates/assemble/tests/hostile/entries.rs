//! Entries of layers that no honest tool writes: sizes that no number holds, devices, and links out
//! of the image.

use std::process::Command;

use crate::bounded::{refuses, survives};
use crate::inputs::{Layout, directory, fix_checksum, gzip, hard_link, pax, symlink, tar_of};

/// Makes an entry whose header has these bytes for a size.
fn sized(size: &[u8; 12]) -> Vec<u8> {
    let mut tar = tar_of("file", b"");
    tar[124..136].copy_from_slice(size);
    fix_checksum(&mut tar[..512]);
    tar
}

/// Where readers disagree about a size, they see different files in one layer.
#[test]
fn sizes_that_no_file_has_are_refused() {
    let of_header = |size: &str| {
        let mut tar = pax(&[("size".to_owned(), size.to_owned())]);
        tar.extend(tar_of("file", b"abc"));
        tar
    };
    let tars = [
        of_header("99999999999999999999999999"),
        of_header("18446744073709551615"),
        of_header("9223372036854775296"),
        of_header("-1"),
        sized(&[0xff; 12]),
        sized(b"\x80\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f"),
        sized(b"99999999999\0"),
    ];
    for (number, mut tar) in tars.into_iter().enumerate() {
        let place = directory();
        let layout = Layout::new(place.path());
        tar.extend([0; 1024]);
        layout.image(&gzip(&tar), &tar);
        for command in [&["ls", &layout.path()][..], &["verify", &layout.path()]] {
            let (_, said) = refuses(command, "");
            assert!(said.len() < 1_000, "{number}: {said}");
        }
    }
}

#[test]
fn links_and_devices_lead_nowhere() {
    let place = directory();
    let layout = Layout::new(place.path());
    let mut tar = hard_link("shadow", "../../../../../../etc/shadow");
    tar.extend(hard_link("absolute", "/etc/shadow"));
    tar.extend(symlink("etc/os-release", "/proc/self/environ"));
    tar.extend(symlink("var/lib/dpkg", "../../../../../../var/lib/dpkg"));
    tar.extend(symlink("a", "b"));
    tar.extend(symlink("b", "a"));
    let mut device = tar_of("device", b"");
    device[156] = b'4';
    fix_checksum(&mut device[..512]);
    tar.extend(device);
    tar.extend([0; 1024]);
    layout.image(&gzip(&tar), &tar);
    for path in ["/shadow", "/absolute", "/etc/os-release", "/a", "/device"] {
        let mut cat = Command::new(env!("CARGO_BIN_EXE_assemble"));
        let output = cat.args(["cat", &layout.path(), path]).output().unwrap();
        assert!(output.stdout.is_empty(), "{path}: {output:?}");
        assert!(output.status.code().is_some(), "{path}: {output:?}");
    }
    survives(&["inspect", &layout.path(), "--packages"]);
    refuses(&["verify", &layout.path()], "");
}
