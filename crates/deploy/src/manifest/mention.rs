//! Finds `crateyard://NAME` in a text.

use std::ops::Range;

/// The prefix of a mention.
pub const SCHEME: &str = "crateyard://";

/// `crateyard://NAME`, with the tag or digest that a template may have added after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// The range of its bytes.
    pub range: Range<usize>,
    /// The image's name.
    pub image: String,
}

/// Returns all mentions in a text.
pub(super) fn all(text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(SCHEME) {
        let start = from + at;
        let name = start + SCHEME.len();
        let image = word(&text[name..], is_of_name);
        let mut end = name + image.len();
        end += version(&text[end..]);
        found.push(Mention {
            range: start..end,
            image: image.to_owned(),
        });
        from = end;
    }
    found
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._-".contains(letter)
}

/// Returns the word at the beginning of a text. A full stop or dash at its end belongs to the
/// sentence.
fn word(text: &str, is_of: fn(char) -> bool) -> &str {
    let end = text.find(|letter| !is_of(letter)).unwrap_or(text.len());
    text[..end].trim_end_matches(['.', '-', '_'])
}

/// Returns the length of `:TAG`, `@DIGEST` or `:TAG@DIGEST` at the beginning of a text, or 0.
fn version(text: &str) -> usize {
    let mut length = 0;
    for (sign, is_of) in [(':', is_of_name as fn(char) -> bool), ('@', is_of_digest)] {
        if let Some(rest) = text[length..].strip_prefix(sign) {
            let word = word(rest, is_of);
            if !word.is_empty() {
                length += 1 + word.len();
            }
        }
    }
    length
}

fn is_of_digest(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == ':'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str) -> Vec<(String, String)> {
        let found = all(text).into_iter();
        found
            .map(|it| (text[it.range].to_owned(), it.image))
            .collect()
    }

    #[test]
    fn a_mention_ends_where_its_tag_ends() {
        let one = |text: &str, part: &str, image: &str| {
            assert_eq!(
                images(text),
                [(part.to_owned(), image.to_owned())],
                "{text}"
            );
        };
        one("crateyard://app", "crateyard://app", "app");
        one(
            "--image=crateyard://app:0.1.0,",
            "crateyard://app:0.1.0",
            "app",
        );
        one("see crateyard://app-x.", "crateyard://app-x", "app-x");
        one("{a: crateyard://app}", "crateyard://app", "app");
        one("crateyard://app: x", "crateyard://app", "app");
        one(
            "crateyard://app:1@sha256:ab\n",
            "crateyard://app:1@sha256:ab",
            "app",
        );
        one("crateyard://", "crateyard://", "");
        assert_eq!(images("crateyard://a crateyard://b").len(), 2);
        assert_eq!(images("crateyard:/a"), []);
    }
}
