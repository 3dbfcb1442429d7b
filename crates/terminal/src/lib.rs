//! Prints text for people. All output goes through this crate, which cleans it
//! ([`crateyard_text`]), and in CI lets none of it be read as a command.
//!
//! ```
//! use crateyard_terminal::{count, table};
//!
//! let rows = [["gateway", "12"], ["fleet", "9"]];
//! let rows = rows.map(|row| row.map(str::to_owned).to_vec());
//! assert_eq!(table(&rows, "", &[1]), "gateway  12\nfleet     9\n");
//! assert_eq!(count(1, "layer"), "1 layer");
//! ```

#![warn(unreachable_pub, clippy::undocumented_unsafe_blocks)]

mod colours;
mod commands;
mod passwords;
mod pulse;

use std::borrow::Cow;
use std::fmt::Display;
use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use commands::{disarm, disarm_json};
use crateyard_text::{clean_json, clean_lines};
use passwords::hide;

pub use crateyard_text::{clean, clean_log, shortened};
pub use passwords::without_passwords;
pub use pulse::{INTERVAL, Pulse};

/// Prints a warning to standard error: there is a problem, but the command continues.
#[macro_export]
macro_rules! warning {
    ($($argument:tt)*) => { $crate::say("warning", &format!($($argument)*)) };
}

/// Prints a note to standard error.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => { $crate::say("note", &format!($($argument)*)) };
}

/// Prints a message of a kind to standard error, without the passwords in its addresses.
pub fn say(kind: &str, message: &str) {
    // A message that nobody can read is not a reason to end the command.
    let message = disarm(hide(clean_lines(message)));
    let _ = writeln!(io::stderr(), "{kind}: {message}");
}

/// Prints a part of a log to standard error. It keeps its lines, and its colours where they are
/// shown, without the passwords in its addresses.
pub fn log(text: &str) {
    // As for a message.
    let _ = write!(io::stderr(), "{}", disarm(logged(text)));
}

/// Prints text for a CI system to standard error, with the commands in it. The caller has escaped
/// everything from outside, or stops commands around it.
pub fn markup(text: &str) {
    // As for a message.
    let _ = write!(io::stderr(), "{}", logged(text));
}

fn logged(text: &str) -> Cow<'_, str> {
    hide(colours::shown(clean_log(text)))
}

/// Formats rows as lines with aligned columns. Columns in `right` are aligned to the right.
pub fn table(rows: &[Vec<String>], indent: &str, right: &[usize]) -> String {
    let widths = widths(rows.iter());
    let lines = rows.iter().map(|row| line(row, &widths, indent, right));
    lines.collect()
}

/// Prints rows in the layout of [`table`], one by one, because an image may have very many files.
///
/// # Errors
/// When standard output can't be written.
pub fn print_table(rows: impl Iterator<Item = Vec<String>> + Clone, right: &[usize]) -> Result<()> {
    let widths = widths(rows.clone());
    print_with(|out| {
        for row in rows {
            let line = line(&row, &widths, "", right);
            out.write_all(disarm(clean_lines(&line)).as_bytes())?;
        }
        Ok(())
    })
}

/// The widest column, in characters. Longer cells stick out: a document from elsewhere may have one
/// cell of megabytes, and each other row would be padded to its width.
const WIDEST: usize = 200;

fn widths<R: AsRef<[String]>>(rows: impl Iterator<Item = R>) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        let cells = row.as_ref();
        widths.resize(widths.len().max(cells.len()), 0);
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().take(WIDEST).count().max(*width);
        }
    }
    widths
}

fn line(row: &[String], widths: &[usize], indent: &str, right: &[usize]) -> String {
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
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// Prints the output of `write`. It is not an error if a reader, such as `head`, stops reading.
fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints to standard output. It is not an error if a reader, such as `head`, stops reading.
///
/// # Errors
/// When standard output can't be written.
pub fn print(text: &str) -> Result<()> {
    write(&disarm(clean_lines(text)))
}

fn write(text: &str) -> Result<()> {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// Prints a line to standard output.
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
    write(&format!("{}\n", cleaned_json(&text)))
}

/// Cleans a JSON document. It means the same as before.
pub fn cleaned_json(text: &str) -> Cow<'_, str> {
    disarm_json(clean_json(text))
}

/// Writes a file completely or not at all. If its name is `-`, prints the text instead.
///
/// # Errors
/// When the file can't be written.
pub fn write_to(out: &Path, text: &str) -> Result<()> {
    if out == Path::new("-") {
        return print(text);
    }
    crateyard_disk::write(&regular(out)?, text.as_bytes())
        .with_context(|| format!("cannot write {}", out.display()))
}

/// Returns the place of a regular file that the user named, whether it is there or not. A link
/// leads to that place and stays.
///
/// A file is written beside its place and renamed to it. In the place of `/dev/null`, that would
/// take the device from every program of the machine.
///
/// # Errors
/// When a directory, a device or a pipe is in the place.
pub fn regular(out: &Path) -> Result<PathBuf> {
    let context = || format!("cannot write {}", out.display());
    match fs::symlink_metadata(out) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(out.to_owned()),
        Ok(file) if file.is_file() => return Ok(out.to_owned()),
        found => found.with_context(context)?,
    };
    let file = fs::metadata(out).with_context(context)?;
    if file.is_dir() {
        bail!("cannot write {}: it is a directory", out.display());
    }
    if !file.is_file() {
        bail!(
            "cannot write {}: it is not a regular file\n  try: - for standard output, or the name \
             of a file",
            out.display()
        );
    }
    fs::canonicalize(out).with_context(context)
}

/// Returns `+` for a new entry, `-` for a removed one, `~` for a changed one.
pub fn sign<T>(before: Option<&T>, after: Option<&T>) -> String {
    match (before, after) {
        (None, _) => "+",
        (_, None) => "-",
        _ => "~",
    }
    .to_owned()
}

/// Formats a number with its noun: `1 layer`, `2 layers`.
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

    #[test]
    fn one_long_cell_makes_no_row_longer() {
        let long = "x".repeat(100_000);
        let mut rows = vec![vec![long, "a".to_owned()]];
        rows.resize(100, vec!["y".to_owned(), "b".to_owned()]);
        assert!(table(&rows, "", &[]).len() < 130_000);
    }
}
