//! Problems of a description, printed like a compiler's errors: place, line, carets, and help.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The text of an `images.toml`, and its name in messages.
#[derive(Clone, Debug)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// Makes a source of its whole text and its name, as the person gave it, for instance
    /// `images.toml`.
    pub fn new(name: &str, text: &str) -> Source {
        Source {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Returns the name used in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Makes a problem at `span` (bytes of the text).
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        Problem {
            place: self.place(span),
            message: in_one_line(&message.into()),
            notes: Vec::new(),
            help: None,
        }
    }

    /// Returns the line and column of `span`, for people. Cuts a span at the end of its first line.
    fn place(&self, span: Range<usize>) -> Place {
        let start = floor_boundary(&self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let end = floor_boundary(&self.text, span.end).clamp(start, line_end);
        Place {
            file: self.name.clone(),
            start,
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end].chars().count().max(1),
            quoted: self.text[line_start..line_end]
                .trim_end_matches('\r')
                .to_string(),
        }
    }
}

/// Returns a message with escapes in the place of control characters, which come from the values
/// that it quotes.
fn in_one_line(message: &str) -> String {
    let mut line = String::new();
    for c in message.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

/// Returns the nearest character boundary at or before `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|&index| text.is_char_boundary(index))
        .unwrap_or(0)
}

/// A place in a source: its line and column (both from 1, columns in characters).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    start: usize,
    line: usize,
    column: usize,
    width: usize,
    file: Arc<str>,
    quoted: String,
}

/// One error of a description, with its place and help.
///
/// Its `Display` is the whole message over several lines, as rustc prints one:
///
/// ```text
/// images.toml:12:1: error: unknown key `binarys` in [images.gateway]
///    |
/// 12 | binarys = ["gateway"]
///    | ^^^^^^^
///    = help: did you mean `binaries`?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    message: String,
    notes: Vec<String>,
    help: Option<String>,
}

impl Problem {
    /// Adds advice on what to do next.
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(in_one_line(&help.into()));
        self
    }

    /// Adds advice on what to do next, if there is any.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Problem {
        self.help = help.or(self.help);
        self
    }

    /// Adds a fact that explains the problem.
    pub fn note(mut self, note: impl Into<String>) -> Problem {
        self.notes.push(note.into());
        self
    }

    /// Adds a fact and the place of `source` that shows it.
    pub(crate) fn note_at(self, source: &Source, span: Range<usize>, note: &str) -> Problem {
        let place = source.place(span);
        self.note(format!(
            "{note} at {}:{}:{}",
            place.file, place.line, place.column
        ))
    }

    /// Returns the message alone, without place and help.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it asks for the same change at the same place as `other`: a variant repeats the
    /// problems of its image under its own name.
    fn repeats(&self, other: &Problem) -> bool {
        let same_help = self.help.is_some() && self.help == other.help;
        self.place == other.place && (same_help || self.message == other.message)
    }

    /// Returns line and column, both from 1.
    pub fn position(&self) -> (usize, usize) {
        (self.place.line, self.place.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            file,
            line,
            column,
            width,
            quoted,
            ..
        } = &self.place;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs under the quoted line, so that the carets line up.
        let indent: String = quoted
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "{file}:{line}:{column}: error: {}", self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {quoted}")?;
        write!(f, "{margin} | {indent}{}", "^".repeat(*width))?;
        for note in &self.notes {
            write!(f, "\n{margin} = note: {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// All problems of one description. Fallible functions of this crate return them.
///
/// They are sorted by place, each once. They print with a blank line between them, and their number
/// on a last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts `problems` by place and drops repetitions.
    pub fn new(mut problems: Vec<Problem>) -> Problems {
        problems.sort_by_key(|problem| problem.place.start);
        let mut told: Vec<Problem> = Vec::new();
        for problem in problems {
            if !told.iter().any(|other| problem.repeats(other)) {
                told.push(problem);
            }
        }
        Problems(told)
    }

    /// Returns `Ok(value)` if there are no problems.
    pub(crate) fn or<T>(problems: Vec<Problem>, value: T) -> Result<T, Problems> {
        if problems.is_empty() {
            Ok(value)
        } else {
            Err(Problems::new(problems))
        }
    }
}

impl std::ops::Deref for Problems {
    type Target = [Problem];

    fn deref(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}\n")?;
        }
        let file = self.0.first().map_or("", |first| &*first.place.file);
        match self.0.len() {
            1 => write!(f, "error: {file} has 1 error"),
            count => write!(f, "error: {file} has {count} errors"),
        }
    }
}

impl std::error::Error for Problems {}

/// Returns the name among `known` that `wrong` was most likely meant to be.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = wrong.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= limit || is_extension(wrong, name))
        .min()
        .map(|(_, name)| name)
}

/// Returns `did you mean …?`, or a list of the known names.
pub(crate) fn suggestion<'a>(
    wrong: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(name) = nearest(wrong, known.clone()) {
        return format!("did you mean `{name}`?");
    }
    let names: Vec<&str> = known.into_iter().collect();
    match names.as_slice() {
        [] => format!("there are no {what}"),
        names => format!("the {what} are: {}", quoted_list(names)),
    }
}

/// Quotes and joins names: `` `a`, `b`, `c` ``.
pub(crate) fn quoted_list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{}`", n.as_ref())).collect();
    quoted.join(", ")
}

/// Whether one name begins or ends with the other (`env` and `environment`, `seccomp-sys` and
/// `libseccomp-sys`).
fn is_extension(wrong: &str, name: &str) -> bool {
    let extends = |long: &str, short: &str| long.starts_with(short) || long.ends_with(short);
    wrong.len() >= 3 && name.len() >= 3 && (extends(name, wrong) || extends(wrong, name))
}

/// Returns Levenshtein's distance, in which case and the choice of `-` or `_` cost nothing.
fn distance(a: &str, b: &str) -> usize {
    let fold = |c: char| {
        if c == '_' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    };
    let b: Vec<char> = b.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().map(fold).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_place_line_and_carets() {
        let source = Source::new("images.toml", "version = 1\n\tübel = 2\n");
        let problem = source.problem(13..18, "unknown key `übel`").help("drop it");
        assert_eq!(
            problem.to_string(),
            "images.toml:2:2: error: unknown key `übel`\n  |\n2 | \tübel = 2\n  | \t^^^^\n  = \
             help: drop it"
        );
    }

    #[test]
    fn a_span_outside_the_text_is_no_reason_to_panic() {
        let source = Source::new("images.toml", "ü");
        assert_eq!(source.problem(1..99, "x").position(), (1, 1));
        assert_eq!(source.problem(90..99, "x").position(), (1, 2));
    }

    #[test]
    fn suggests_what_was_meant() {
        let known = ["binaries", "packages", "environment", "health-check"];
        assert_eq!(nearest("binarys", known), Some("binaries"));
        assert_eq!(nearest("health_check", known), Some("health-check"));
        assert_eq!(nearest("env", known), Some("environment"));
        assert_eq!(nearest("check", known), Some("health-check"));
        assert_eq!(nearest("colour", known), None);
    }
}
