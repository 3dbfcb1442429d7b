//! What Cargo gives to an integration test: the program, the package's files, variables, a scratch
//! directory.

use std::path::Path;
use std::process::Command;

#[test]
fn the_program_runs() {
    let output = Command::new(env!("CARGO_BIN_EXE_ledger")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = std::fs::read_to_string("tests/data/expected.txt").unwrap();
    assert_eq!(said, expected);
}

#[test]
fn variables_are_cargos() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    assert_eq!(directory, env!("CARGO_MANIFEST_DIR"));
    assert_eq!(std::env::current_dir().unwrap(), Path::new(&directory));
    assert_eq!(std::env::var("CARGO_PKG_VERSION").unwrap(), "1.4.2");
    assert_eq!(
        std::env::var("LEDGER_GREETING").unwrap(),
        "from the configuration"
    );
}

#[test]
fn there_is_a_scratch_directory() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("written");
    std::fs::write(file, "x").unwrap();
}
