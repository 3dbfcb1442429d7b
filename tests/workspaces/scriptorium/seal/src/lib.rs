//! Runs tools of the libraries that it is linked from, and writes to its caller's `OUT_DIR`.

use proc_macro::TokenStream;
use std::process::Command;

/// What both tools make of a word.
#[proc_macro]
pub fn seal(word: TokenStream) -> TokenStream {
    let word = word.to_string();
    let mut text = word.trim_matches('"').to_owned();
    for tool in [quill::TOOL, stamp_src::stamp()] {
        let output = Command::new("sh").args([tool, &text]).output().unwrap();
        assert!(output.status.success(), "{tool}: {output:?}");
        text = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
    }
    let file = format!("{}/sealed.txt", std::env::var("OUT_DIR").unwrap());
    std::fs::write(&file, text).unwrap();
    // What the build script left there can be written to, too.
    let table = format!("{}/table.rs", std::env::var("OUT_DIR").unwrap());
    std::fs::OpenOptions::new().append(true).open(table).unwrap();
    format!("include_str!({file:?})").parse().unwrap()
}
