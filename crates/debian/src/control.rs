//! Control files: stanzas of `Field: value` lines, as in `Packages`, `Release` and a package's
//! `control`.
//!
//! Grammar:
//! <https://www.debian.org/doc/debian-policy/ch-controlfields.html#syntax-of-control-files>.

/// One stanza, borrowed from the file's text.
#[derive(Clone, Debug)]
pub struct Stanza<'a> {
    text: &'a str,
    /// Line of the stanza's first field in its file, from 1.
    pub line: usize,
}

impl<'a> Stanza<'a> {
    /// Takes the whole `text` as one stanza, as in a `control` or `Release` file.
    pub fn whole(text: &'a str) -> Self {
        Stanza { text, line: 1 }
    }

    /// Returns the stanza's text, including its last newline.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the stanza's fields, in order. A line that is neither a field nor a continuation
    /// becomes a field with an empty name.
    pub fn fields(&self) -> Fields<'a> {
        Fields {
            rest: self.text,
            line: self.line,
        }
    }

    /// Returns the value of a field, without surrounding blanks. The case of the name does not
    /// matter. Continuation lines are part of the value, with their leading blanks and newlines.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }
}

/// One field of a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name before the colon, as written.
    pub name: &'a str,
    /// The value after the colon, with continuation lines, without surrounding blanks.
    pub value: &'a str,
    /// Line in the file, from 1.
    pub line: usize,
}

/// Iterator over the fields of a stanza.
pub struct Fields<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let end = field_end(self.rest);
            let (field, rest) = self.rest.split_at(end);
            let line = self.line;
            self.line += field.bytes().filter(|b| *b == b'\n').count();
            self.rest = rest;
            if field.starts_with('#') || field.trim().is_empty() {
                continue;
            }
            let (name, value) = field.split_once(':').unwrap_or(("", field));
            return Some(Field {
                name,
                value: value.trim(),
                line,
            });
        }
    }
}

/// Returns the end of the first field: the first line that does not begin with a blank.
fn field_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(newline) = text[from..].find('\n') {
        from += newline + 1;
        match bytes.get(from) {
            Some(b' ' | b'\t') => {}
            _ => return from,
        }
    }
    text.len()
}

/// Returns the stanzas of a file, separated by empty lines.
pub fn stanzas(text: &str) -> Stanzas<'_> {
    Stanzas {
        rest: text,
        line: 1,
    }
}

/// Iterator over the stanzas of a file.
pub struct Stanzas<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Stanza<'a>;

    fn next(&mut self) -> Option<Stanza<'a>> {
        let blank = self.rest.len() - self.rest.trim_start_matches(['\n', '\r']).len();
        self.line += count_lines(&self.rest[..blank]);
        self.rest = &self.rest[blank..];
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find("\n\n").map_or(self.rest.len(), |at| at + 1);
        let (text, rest) = self.rest.split_at(end);
        let stanza = Stanza {
            text,
            line: self.line,
        };
        self.line += count_lines(text);
        self.rest = rest;
        Some(stanza)
    }
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str =
        "\nPackage: a\nDepends: b,\n c\n\n\nPackage: b\nDescription: one\n two\n .\n three\n";

    #[test]
    fn stanzas_know_their_lines() {
        let lines: Vec<_> = stanzas(TWO).map(|s| (s.line, s.get("package"))).collect();
        assert_eq!(lines, [(2, Some("a")), (7, Some("b"))]);
    }

    #[test]
    fn values_keep_their_continuation_lines() {
        let all: Vec<_> = stanzas(TWO).collect();
        assert_eq!(all[0].get("Depends"), Some("b,\n c"));
        assert_eq!(all[1].get("Description"), Some("one\n two\n .\n three"));
        assert_eq!(all[1].fields().last().map(|f| f.line), Some(8));
    }

    #[test]
    fn a_line_without_a_colon_is_not_lost() {
        let fields: Vec<_> = Stanza::whole("Package: a\nnonsense\n").fields().collect();
        assert_eq!(
            (fields[1].name, fields[1].value, fields[1].line),
            ("", "nonsense", 2)
        );
    }
}
