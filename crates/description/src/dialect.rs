//! Refuses syntax that TOML 1.1 allows and 1.0 does not: other readers of the same file, such as
//! Nix, only know 1.0.
//!
//! <https://toml.io/en/v1.0.0#inline-table>, <https://toml.io/en/v1.0.0#string>

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Source};

/// Returns a problem for each place of `document` that a reader of TOML 1.0 stumbles over.
pub(crate) fn problems(source: &Source, document: &DeTable) -> Vec<Problem> {
    let mut problems = Vec::new();
    for value in document.values() {
        check(source, value, &mut problems);
    }
    problems
}

fn check(source: &Source, value: &Spanned<DeValue>, problems: &mut Vec<Problem>) {
    let text = source.text().get(value.span()).unwrap_or("");
    match value.get_ref() {
        DeValue::Table(table) => {
            if text.starts_with('{') {
                check_inline(source, table, value.span(), problems);
            }
            table
                .values()
                .for_each(|value| check(source, value, problems));
        }
        DeValue::Array(array) => array
            .iter()
            .for_each(|value| check(source, value, problems)),
        DeValue::String(_) if text.starts_with('"') => {
            check_escapes(source, text, value.span(), problems);
        }
        _ => {}
    }
}

/// Reports an inline table with a line break between its entries or a comma at its end.
fn check_inline(source: &Source, table: &DeTable, span: Range<usize>, problems: &mut Vec<Problem>) {
    let mut between = source.text().as_bytes()[span.clone()].to_vec();
    blank_values(table, span.start, &mut between);
    let help = "write it on one line without a comma at its end, or as a table of its own";
    let trailing = between
        .iter()
        .rposition(|byte| !byte.is_ascii_whitespace() && *byte != b'}')
        .filter(|at| between[*at] == b',');
    let found = match between.iter().position(|byte| *byte == b'\n') {
        Some(at) => Some((at, "an inline table can't go over several lines")),
        None => trailing.map(|at| (at, "an inline table can't end with a comma")),
    };
    if let Some((at, message)) = found {
        let start = if between[at] == b'\n' {
            span.start
        } else {
            span.start + at
        };
        let problem = source.problem(start..start + 1, message);
        problems.push(
            problem
                .note("TOML 1.1 allows it, but Nix reads 1.0")
                .help(help),
        );
    }
}

/// Replaces all values with spaces, including those behind dotted keys.
fn blank_values(table: &DeTable, start: usize, text: &mut [u8]) {
    for value in table.values() {
        let span = value.span();
        let inner = span.start.saturating_sub(start)..span.end.saturating_sub(start);
        let Some(bytes) = text.get_mut(inner) else {
            continue;
        };
        match value.get_ref() {
            // The span of a table made by a dotted key is its key alone.
            DeValue::Table(dotted) if bytes.first() != Some(&b'{') => {
                blank_values(dotted, start, text);
            }
            _ => bytes.fill(b' '),
        }
    }
}

/// Reports the escapes `\e` and `\xHH`.
fn check_escapes(source: &Source, text: &str, span: Range<usize>, problems: &mut Vec<Problem>) {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if escaped && matches!(byte, b'e' | b'x') {
            let at = span.start + at - 1;
            let problem = source.problem(at..at + 2, "there is no such escape");
            let problem = problem.note("TOML 1.1 has it, but Nix reads 1.0");
            problems.push(problem.help("write `\\u00HH`"));
        }
        escaped = !escaped && byte == b'\\';
    }
}
