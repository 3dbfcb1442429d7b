//! rustc's messages, in JSON for Cargo and as text for people.
//!
//! Cargo asks rustc for JSON, and rustc hashes its arguments into a crate's hash. With other
//! arguments, a library would not have the bytes of Cargo's build. So rustc gets Cargo's arguments,
//! and this module takes the rendered text out of its messages.
//! <https://doc.rust-lang.org/rustc/json.html>

use anyhow::Result;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Write};

/// One message of rustc.
#[derive(Default, Deserialize)]
struct Message {
    /// The diagnostic as rustc would have printed it, with colours.
    rendered: Option<String>,
    /// The kind of a file that rustc has finished, for Cargo.
    emit: Option<String>,
}

/// The messages of rustc.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    /// The text for people.
    pub text: String,
    /// Whether reading stopped at the metadata, before the end of rustc.
    pub is_metadata_there: bool,
}

/// Passes rustc's messages from `stream` on to `people` as they come. Stops when rustc has written
/// metadata, if `until_metadata`.
///
/// # Errors
/// When reading or writing fails.
pub(crate) fn show(
    stream: impl Read,
    mut people: impl Write,
    until_metadata: bool,
) -> Result<Said> {
    let mut text = String::new();
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    let mut is_metadata_there = false;
    while !is_metadata_there && stream.read_until(b'\n', &mut line)? > 0 {
        let message = message(&String::from_utf8_lossy(&line));
        let rendered = message.rendered.unwrap_or_default();
        people.write_all(rendered.as_bytes())?;
        text.push_str(&rendered);
        is_metadata_there = until_metadata && message.emit.as_deref() == Some("metadata");
        line.clear();
    }
    Ok(Said {
        text,
        is_metadata_there,
    })
}

/// Reads a line. A line that is no message, such as a panic of the compiler's, is for people as it
/// is.
fn message(line: &str) -> Message {
    serde_json::from_str(line).unwrap_or_else(|_| Message {
        rendered: Some(line.to_owned()),
        ..Message::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        r#"{"$message_type":"diagnostic","message":"m","rendered":"warning: m\n"}"#,
        "\n",
        r#"{"$message_type":"artifact","artifact":"x.d","emit":"dep-info"}"#,
        "\n",
        r#"{"$message_type":"artifact","artifact":"libx.rmeta","emit":"metadata"}"#,
        "\n",
        r#"{"$message_type":"diagnostic","message":"m","rendered":"error: m\n"}"#,
        "\n",
        "thread 'rustc' panicked\n",
    );

    #[test]
    fn diagnostics_are_rendered_and_the_rest_is_for_cargo() {
        let mut people = Vec::new();
        let said = show(STREAM.as_bytes(), &mut people, false).unwrap();
        let text = "warning: m\nerror: m\nthread 'rustc' panicked\n";
        assert_eq!((said.text.as_str(), said.is_metadata_there), (text, false));
        assert_eq!(people, text.as_bytes());
    }

    #[test]
    fn for_metadata_alone_it_listens_until_that_is_there() {
        let mut people = Vec::new();
        let said = show(STREAM.as_bytes(), &mut people, true).unwrap();
        assert_eq!(
            (said.text.as_str(), said.is_metadata_there),
            ("warning: m\n", true)
        );
        let before = STREAM.lines().next().unwrap();
        let said = show(before.as_bytes(), std::io::sink(), true).unwrap();
        assert!(!said.is_metadata_there, "rustc failed before");
    }
}
