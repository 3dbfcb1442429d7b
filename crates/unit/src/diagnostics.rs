//! What rustc says in JSON, as people read it.
//!
//! Cargo asks rustc for JSON, and rustc counts how it was asked among what a crate's hash is made of: with other
//! arguments, a library would not have the bytes that Cargo's build gives. So rustc is asked as by Cargo, and what it
//! has rendered is taken out of its messages here.
//! <https://doc.rust-lang.org/rustc/json.html>

use anyhow::Result;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Write};

/// One message of rustc.
#[derive(Default, Deserialize)]
struct Message {
    /// The diagnostic as rustc would have printed it, with colours.
    rendered: Option<String>,
    /// Which sort of file is there now; for Cargo.
    emit: Option<String>,
}

/// What rustc has said.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    /// What was passed on to people.
    pub text: String,
    /// Whether it was listened to until metadata was there, and not until the end.
    pub is_metadata_there: bool,
}

/// Passes on to `people` what rustc writes to `stream`, as it comes; until it has written metadata, if that is all that
/// is wanted.
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

/// What a line says. What is no message, such as a panic of the compiler's, is for people as it is.
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
