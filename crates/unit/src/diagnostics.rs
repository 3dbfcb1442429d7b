//! What rustc says in JSON, as people read it.
//!
//! Cargo asks rustc for JSON, and rustc counts how it was asked among what a crate's hash is made of: with other
//! arguments, a library would not have the bytes that Cargo's build gives. So rustc is asked as by Cargo, and what it
//! has rendered is taken out of its messages here.
//! <https://doc.rust-lang.org/rustc/json.html>

use anyhow::Result;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Write};

/// One message of rustc. All but diagnostics are for Cargo.
#[derive(Deserialize)]
struct Message {
    /// The diagnostic as rustc would have printed it, with colours.
    rendered: Option<String>,
}

/// Passes on to `people` what rustc writes to `stream`, as it comes, and returns it.
///
/// # Errors
/// When reading or writing fails.
pub(crate) fn show(stream: impl Read, mut people: impl Write) -> Result<String> {
    let mut said = String::new();
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line)? > 0 {
        let text = rendered(&String::from_utf8_lossy(&line));
        people.write_all(text.as_bytes())?;
        said.push_str(&text);
        line.clear();
    }
    Ok(said)
}

/// What a line is to people: a message's rendered text, or the line itself, such as a panic of the compiler's.
fn rendered(line: &str) -> String {
    match serde_json::from_str::<Message>(line) {
        Ok(message) => message.rendered.unwrap_or_default(),
        Err(_) => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_are_rendered_and_the_rest_is_for_cargo() {
        let stream = concat!(
            r#"{"$message_type":"artifact","artifact":"libx.rmeta","emit":"metadata"}"#,
            "\n",
            r#"{"$message_type":"diagnostic","message":"m","rendered":"error: m\n"}"#,
            "\n",
            "thread 'rustc' panicked\n",
        );
        let mut people = Vec::new();
        let said = show(stream.as_bytes(), &mut people).unwrap();
        assert_eq!(said, "error: m\nthread 'rustc' panicked\n");
        assert_eq!(people, said.as_bytes());
    }
}
