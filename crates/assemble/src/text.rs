//! Text for people. All that is printed goes through here, and is cleaned on the way ([`image::text`]).

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
pub use image::text::{clean, clean_log};
use image::text::{clean_json, clean_lines};

/// Says on standard error what goes wrong and is gone on with.
macro_rules! warning {
    ($($argument:tt)*) => { $crate::text::say("warning", &format!($($argument)*)) };
}

/// Says on standard error what is worth knowing.
macro_rules! note {
    ($($argument:tt)*) => { $crate::text::say("note", &format!($($argument)*)) };
}

/// Writes a message of a kind to standard error.
pub fn say(kind: &str, message: &str) {
    eprintln!("{kind}: {}", clean_lines(message));
}

/// Rows as lines with aligned columns. Those in `right` end, all others begin at the same place.
pub fn table(rows: &[Vec<String>], indent: &str, right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column > 0 {
                line.push_str("  ");
            }
            line += &match right.contains(&column) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Prints to standard output. A reader that has seen enough, such as `head`, is no error.
///
/// # Errors
/// When standard output can't be written.
pub fn print(text: &str) -> Result<()> {
    write(&clean_lines(text))
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// The same for a line.
///
/// # Errors
/// When standard output can't be written.
pub fn print_line(line: impl Display) -> Result<()> {
    print(&format!("{line}\n"))
}

/// Prints a document as indented JSON.
///
/// # Errors
/// When standard output can't be written.
pub fn print_json(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    write(&(clean_json(&text).into_owned() + "\n"))
}

/// `+` for what is new, `-` for what is gone, `~` for what is otherwise.
pub fn sign<T>(before: Option<&T>, after: Option<&T>) -> String {
    match (before, after) {
        (None, _) => "+",
        (_, None) => "-",
        _ => "~",
    }
    .to_owned()
}

/// A number with its noun: `1 layer`, `2 layers`.
pub fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "10", "x"], ["bcd", "9", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, " ", &[1]), " a    10  x\n bcd   9\n");
    }
}
