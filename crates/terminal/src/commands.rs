//! Keeps text from outside from being read as a command by a CI system.
//!
//! Such systems read the output of each step. GitHub's runner takes a line that begins with `::`
//! for a command, and `##[…]` at any place of a line. A command can set the step's outputs, which
//! later jobs use, or hide words of the log. Azure Pipelines and TeamCity have commands of the
//! second form, `##vso[…]` and `##teamcity[…]`. So a name of an image, a message of Nix's or an
//! error that quotes one could decide what a job does.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use std::borrow::Cow;
use std::sync::LazyLock;

/// The environment variables by which such systems are known.
pub(crate) const SYSTEMS: [&str; 3] = ["GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"];

/// Whether this process runs in such a system.
static IS_READ: LazyLock<bool> = LazyLock::new(|| {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    SYSTEMS.into_iter().any(is_set)
});

/// Escapes the beginnings of commands in a text, if a CI system reads it.
pub(crate) fn disarm(text: Cow<'_, str>) -> Cow<'_, str> {
    match *IS_READ {
        true => Cow::Owned(escape(&text, "\\u{23}", "\\u{3a}")),
        false => text,
    }
}

/// Escapes the beginnings of commands in a JSON document. They only occur in strings, where an
/// escape means the same.
pub(crate) fn disarm_json(text: Cow<'_, str>) -> Cow<'_, str> {
    match *IS_READ {
        true => Cow::Owned(escape(&text, "\\u0023", "\\u003a")),
        false => text,
    }
}

/// Writes `hash` in place of each `#` that may begin a command, and `colon` in place of each `:`
/// that does.
fn escape(text: &str, hash: &str, colon: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let shown = line.trim_start();
        let begins = shown.starts_with("::").then(|| line.len() - shown.len());
        for (at, character) in line.char_indices() {
            match character {
                '#' if begins_command(&line[at..]) => escaped += hash,
                ':' if begins == Some(at) => escaped += colon,
                _ => escaped.push(character),
            }
        }
    }
    escaped
}

/// Whether a text begins with `##NAME[`, or may do so once the rest of its line has come.
fn begins_command(text: &str) -> bool {
    let Some(rest) = text[1..].strip_prefix('#') else {
        return text == "#";
    };
    let rest = rest.trim_start_matches(|it: char| it.is_ascii_alphanumeric());
    rest.is_empty() || rest.starts_with('[')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        escape(text, "(hash)", "(colon)")
    }

    #[test]
    fn nothing_begins_a_command() {
        assert_eq!(
            shown("::set-output name=a::b\n"),
            "(colon):set-output name=a::b\n"
        );
        assert_eq!(
            shown("a\n \u{a0}\t::add-mask::b"),
            "a\n \u{a0}\t(colon):add-mask::b"
        );
        assert_eq!(
            shown("sha256:1  x##[set-output name=a]b\n"),
            "sha256:1  x(hash)#[set-output name=a]b\n"
        );
        assert_eq!(
            shown("##vso[a]###teamcity[b]"),
            "(hash)#vso[a]#(hash)#teamcity[b]"
        );
    }

    #[test]
    fn a_command_in_two_pieces_is_none() {
        for (first, second) in [("x#", "#[a]b\n"), ("##", "[a]b\n"), ("##vs", "o[a]b\n")] {
            let text = shown(first) + &shown(second);
            assert!(!text.contains("##"), "{text}");
        }
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "a::b::c\n  --> std::x\n# a\n## b c[d]\n#[derive(A)]\n",
            "\u{1b}[1merror\u{1b}[0m: x\n",
            "",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "##[a]": "::b", "c": "##[d]" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = escape(&text, "\\u0023", "\\u003a");
        assert!(!escaped.contains("##["));
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, value);
    }
}
