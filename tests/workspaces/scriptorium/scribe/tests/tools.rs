//! Tests run what packages below point to, and write to `OUT_DIR`.

use std::process::Command;

#[test]
fn tools_are_there() {
    for tool in [quill::TOOL, stamp_src::stamp()] {
        let output = Command::new("sh").args([tool, "x"]).output().unwrap();
        assert!(output.status.success(), "{tool}: {output:?}");
    }
}

#[test]
fn out_dir_can_be_written() {
    std::fs::write(concat!(env!("OUT_DIR"), "/by-a-test"), "x").unwrap();
}

#[test]
fn what_the_build_script_wrote_is_there() {
    let stale = std::fs::read_to_string("src/stale.rs").unwrap();
    assert!(stale.contains("fresh"), "{stale}");
    assert!(!std::path::Path::new("src/unwanted.rs").exists());
}
