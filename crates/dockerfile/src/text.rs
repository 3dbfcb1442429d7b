//! Quotes text for the three languages that this crate writes.

use std::fmt::Write;

/// Returns a JSON array, as the exec forms of a Dockerfile take it.
pub(super) fn exec_form(words: &[String]) -> String {
    // Strings always have a JSON form.
    serde_json::to_string(words).unwrap_or_default()
}

/// Returns a JSON array for `COPY`. Even there `COPY` expands variables, removes quotes and, in
/// sources, matches patterns. <https://docs.docker.com/reference/dockerfile/#copy>
pub(super) fn paths_form(sources: &[&str], destination: &str) -> String {
    let sources = sources.iter().map(|source| escaped(source, "*?["));
    let all: Vec<String> = sources.chain([escaped(destination, "")]).collect();
    exec_form(&all)
}

/// Returns a JSON array of paths for `VOLUME`, which also expands variables and removes quotes.
pub(super) fn volumes_form(paths: &[String]) -> String {
    let all: Vec<String> = paths.iter().map(|path| escaped(path, "")).collect();
    exec_form(&all)
}

/// Escapes a path so that no variable is expanded and none of `patterns` has a meaning.
fn escaped(path: &str, patterns: &str) -> String {
    let mut escaped = String::new();
    for c in path.chars() {
        match c {
            '"' | '\'' | '\\' | '$' => escaped.extend(['\\', c]),
            c if patterns.contains(c) => escaped.extend(['[', c, ']']),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns sources and destination of `COPY`: plain words if possible, because people read them
/// more easily.
pub(super) fn copy_words(sources: &[&str], destination: &str) -> String {
    let mut all = sources.iter().chain([&destination]);
    match all.all(|path| is_plain(path)) {
        true => format!("{} {destination}", sources.join(" ")),
        false => paths_form(sources, destination),
    }
}

/// Whether a path is one word that the engine takes as it is.
pub(super) fn is_plain(path: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "_-./+@,:~%=".contains(c);
    !path.is_empty() && path.chars().all(plain)
}

/// Whether a text has several lines, so that no line of a Dockerfile can hold it.
pub(super) fn has_lines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// Returns a double-quoted word of a Dockerfile without expansion.
pub(super) fn docker_word(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

/// Returns a word of a POSIX shell.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns a string of HCL without expansion.
pub(super) fn hcl_string(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    // HCL knows fewer escapes than JSON.
    let quoted = quoted.replace("\\b", "\\u0008").replace("\\f", "\\u000c");
    quoted.replace("${", "$${").replace("%{", "%%{")
}

/// Returns a list of HCL.
pub(super) fn hcl_list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| hcl_string(item.as_ref()))
        .collect();
    format!("[{}]", items.join(", "))
}

/// Whether a heredoc can hold a text exactly: it ends every line by a line feed.
pub(super) fn fits_heredoc(text: &str) -> bool {
    let is_other = |c: char| c.is_control() && c != '\n' && c != '\t';
    (text.is_empty() || text.ends_with('\n')) && !text.contains(is_other)
}

/// Returns the command of a shell that prints a text exactly. No character of it is special to the
/// shell or breaks a line.
pub(super) fn printf(text: &str) -> String {
    let mut format = String::new();
    for (at, c) in text.char_indices() {
        match c {
            // It would begin an option.
            '-' if at == 0 => format += "\\055",
            '\n' => format += "\\n",
            '\\' => format += "\\\\",
            '%' => format += "%%",
            '\'' => format += "\\047",
            c if c.is_ascii_control() => {
                let _ = write!(format, "\\{:03o}", u32::from(c));
            }
            c => format.push(c),
        }
    }
    format!("printf '{format}'")
}

/// Returns a text as the body of a heredoc, and an end marker that does not occur in it.
pub(super) fn heredoc(text: &str) -> (String, String) {
    let taken = |word: &String| text.lines().any(|line| line == word);
    let words = std::iter::once("EOF".to_string()).chain((1..).map(|n| format!("EOF{n}")));
    let end = words
        .into_iter()
        .find(|word| !taken(word))
        .unwrap_or_default();
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    (format!("{text}{newline}{end}\n"), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_their_quotes() {
        assert_eq!(docker_word(r#"a "b" $c \"#), r#""a \"b\" \$c \\""#);
        assert_eq!(copy_words(&["a", "b/c"], "/d/"), "a b/c /d/");
        assert_eq!(
            copy_words(&["my crates/$x [1]"], "/d e/"),
            r#"["my crates/\\$x [[]1]","/d e/"]"#
        );
        assert_eq!(volumes_form(&["/it's".into()]), r#"["/it\\'s"]"#);
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("a/b-c"), "a/b-c");
        assert_eq!(hcl_string("${A} %{B}"), "\"$${A} %%{B}\"");
        assert_eq!(
            printf("-a 'b' $c %d \\n\r\n\0é"),
            r"printf '\055a \047b\047 $c %%d \\n\015\n\000é'"
        );
        assert_eq!(
            heredoc("EOF"),
            ("EOF\nEOF1\n".to_string(), "EOF1".to_string())
        );
    }
}
