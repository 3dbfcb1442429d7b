//! Cleans text from outside for people: the output of images, registries, caches and repositories
//! is not trusted with the terminal.

use std::borrow::Cow;

/// Cleans a text of one line. Escapes control characters, which move the cursor or set a title, and
/// characters that reverse the direction of writing.
pub fn clean(text: &str) -> Cow<'_, str> {
    escape(text, is_odd)
}

/// Cleans a text that has lines and tabs of its own.
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_odd(c) && c != '\n' && c != '\t')
}

/// Cleans the output of a compiler and keeps its colours.
pub fn clean_log(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return clean_lines(text);
    }
    let mut cleaned = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        cleaned += &clean_lines(&rest[..at]);
        let colour = colour_length(&rest[at..]).unwrap_or(0);
        let taken = &rest[at..at + colour.max(1)];
        match colour {
            0 => cleaned += &clean_lines(taken),
            _ => cleaned += taken,
        }
        rest = &rest[at + taken.len()..];
    }
    Cow::Owned(cleaned + &clean_lines(rest))
}

/// Escapes odd characters in JSON. They only occur in strings, where an escape means the same.
pub fn clean_json(text: &str) -> Cow<'_, str> {
    let is_odd = |c| is_odd(c) && c != '\n';
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match is_odd(c) {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Cuts a text after `most` characters, and marks the cut.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Whether a character is odd. All odd characters are below U+10000.
fn is_odd(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    // Two more characters that end a line.
    turns || matches!(c, '\u{2028}' | '\u{2029}') || c.is_control()
}

fn escape(text: &str, is_odd: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_odd) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match is_odd(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Returns the length in bytes of the colour that a text begins with (`ESC [ 1 ; 31 m`).
fn colour_length(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_writing_around_is_escaped() {
        assert_eq!(clean("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(clean("1–2 “…” ‐ é"), "1–2 “…” ‐ é");
        assert_eq!(clean("\u{202e}gpj.exe\u{9b}"), "\\u{202e}gpj.exe\\u{9b}");
        assert_eq!(clean("größer 猫"), "größer 猫");
        assert_eq!(clean_lines("a\n\tb\r\u{7}"), "a\n\tb\\r\\u{7}");
    }

    #[test]
    fn a_log_keeps_its_colours_and_nothing_else() {
        let log = "\u{1b}[1;31merror\u{1b}[0m: x\u{1b}]0;title\u{7}\u{1b}[2J\n";
        let clean = "\u{1b}[1;31merror\u{1b}[0m: x\\u{1b}]0;title\\u{7}\\u{1b}[2J\n";
        assert_eq!(clean_log(log), clean);
        assert_eq!(clean_log("\u{1b}["), "\\u{1b}[");
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "a": "\u{1b}[31m\u{202e}\u{7f}é" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let clean = clean_json(&text);
        assert!(!clean.contains(['\u{1b}', '\u{202e}', '\u{7f}']));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&clean).unwrap(),
            value
        );
    }
}
