//! Normalizes every `problems/NAME.toml` with the real program. Its messages must equal
//! `problems/NAME.txt`, and its exit code must be 65.
//!
//! `UPDATE=1 cargo test -p crateyard-description` writes its output into the files. Read them
//! before you commit them.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_problem_is_told_as_it_should_be() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/problems");
    let mut cases: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_description"))
            .current_dir(&directory)
            .arg("normalize")
            .arg(case.file_name().unwrap())
            .args([
                "--targets",
                "targets.json",
                "--source-list",
                "files.txt",
                "--lock",
                "Cargo.lock",
                "--parts",
                "web docs",
                "--out",
                "-",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = case.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        assert_eq!(
            said,
            fs::read_to_string(&expected).unwrap(),
            "{}",
            case.display()
        );
        assert_eq!(output.status.code(), Some(65), "{}", case.display());
        assert!(output.stdout.is_empty(), "{}", case.display());
    }
}
