//! Long inputs of the readers of Debian's files take memory in proportion to their size.
#![allow(missing_docs)]

use crateyard_debian::release::Release;
use crateyard_debian::{index, relation};
use crateyard_testing::mutations::is_bounded;

const PACKAGES: &str = "Package: mawk\nVersion: 1:1.3.4-2+b1\nArchitecture: amd64\nPre-Depends: \
                        libc6 (>= 2.36)\nDepends: a | b (<< 2~rc1), c:any\nProvides: awk \
                        (= 1), other\nConflicts: gawk (<< 1)\nFilename: ./pool/m.deb\nSize: \
                        12\nSHA256: \
                        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

const RELEASE: &str = "Origin: Debian\nSuite: stable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 \
                       10:16:37 UTC\nValid-Until: Sat, 18 Jul 2026 10:16:37 UTC\nSHA256:\n \
                       e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 100 \
                       main/binary-amd64/Packages\n";

/// As many fields, relations and files as some megabytes hold.
#[test]
fn long_indexes_are_read_in_proportion_to_their_size() {
    if !is_bounded("long_indexes_are_read_in_proportion_to_their_size") {
        return;
    }
    let fields: String = (0..300_000)
        .map(|number| format!("X-{number}: a\n"))
        .collect();
    let relations = format!("Depends: {}a\n", "a (>= 1) | b, ".repeat(300_000));
    for more in [fields, relations] {
        let text = format!("{}{more}", PACKAGES.replace("Depends: a", "X: a"));
        let packages = index::parse(&text, "Packages", 0).unwrap();
        assert!(relation::parse_groups(&packages[0].depends).is_ok());
    }
    let file = RELEASE.lines().last().unwrap();
    let files: String = (0..50_000)
        .map(|number| file.replace("binary-amd64", &number.to_string()) + "\n")
        .collect();
    let release = Release::parse(&format!("{RELEASE}{files}")).unwrap();
    assert_eq!(release.files.len(), 50_001);
}
