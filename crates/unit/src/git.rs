//! A stand-in for `git`, for build scripts that ask for the revision.
//!
//! A cell has no repository: with one, every commit would build every package again. If a package
//! wants to know its revision, `images.toml` declares that, and a stand-in for `git` answers the
//! questions of scripts. It knows nothing else, and says so.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::ExitCode;

/// The directory with the stand-in, first on `PATH`.
pub const DIRECTORY: &str = "/tmp/git";
/// The variable with the [`Revision`] as JSON. If it is set, this program is the stand-in.
pub const VARIABLE: &str = "CRATEYARD_REVISION";

/// The knowledge of the stand-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// The commit: 40 hexadecimal digits.
    pub commit: String,
    /// The time of the commit, in seconds since 1970.
    pub time: i64,
    /// Whether the tree has changes that are not committed.
    #[serde(default)]
    pub dirty: bool,
}

/// Makes the stand-in.
///
/// # Errors
/// When it can't be made.
pub(crate) fn install() -> Result<()> {
    std::fs::create_dir_all(DIRECTORY)?;
    // Make a copy, because the path of this program need not lead to it in a cell.
    std::fs::copy("/proc/self/exe", Path::new(DIRECTORY).join("git"))
        .context("cannot make a stand-in for git")?;
    Ok(())
}

/// Answers as git, if this process was started as the stand-in.
pub fn play() -> Option<ExitCode> {
    let text = std::env::var(VARIABLE).ok()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let answer = serde_json::from_str(&text)
        .context("the declared revision is malformed")
        .and_then(|revision| answer(&revision, &arguments));
    Some(match answer {
        Ok(Answer::Text(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Answer::Differs(true)) => ExitCode::FAILURE,
        Ok(Answer::Differs(false)) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fatal: {error:#}");
            ExitCode::from(128)
        }
    })
}

/// An answer of git.
#[derive(Debug, PartialEq)]
enum Answer {
    Text(String),
    /// The exit code says whether there are differences.
    Differs(bool),
}

/// The number of digits of a commit's short name.
const SHORT: usize = 7;

fn answer(revision: &Revision, arguments: &[String]) -> Result<Answer> {
    let words = without_global_options(arguments);
    let has = |option: &str| words.iter().any(|word| word == option);
    let line = |text: &str| Ok(Answer::Text(format!("{text}\n")));
    match words.first().map_or("", String::as_str) {
        "--version" | "version" => line("git version 2.39.5"),
        "rev-parse" if has("--is-inside-work-tree") => line("true"),
        "rev-parse" if has("--show-toplevel") => line("/workspace"),
        "rev-parse" if has("--git-dir") || has("--absolute-git-dir") => line("/workspace/.git"),
        // Git says this if the checked-out commit is on no branch.
        "rev-parse" if has("--abbrev-ref") => line("HEAD"),
        "rev-parse" if has("HEAD") => line(&revision.named(&words)),
        "describe" if has("--always") => {
            let suffix = words
                .iter()
                .find_map(|word| match word.strip_prefix("--dirty") {
                    Some("") => Some("-dirty"),
                    Some(mark) => mark.strip_prefix('='),
                    None => None,
                });
            let suffix = suffix.filter(|_| revision.dirty).unwrap_or_default();
            line(&format!("{}{suffix}", revision.short(SHORT)))
        }
        "show" | "log" => match format(&words) {
            Some(format) => line(&revision.formatted(format)?),
            None => bail!("{}", unknown(arguments)),
        },
        "status" if has("--porcelain") || has("-s") || has("--short") => {
            let changed = if revision.dirty { " M changed\n" } else { "" };
            Ok(Answer::Text(changed.to_owned()))
        }
        "diff" | "diff-index" if has("--quiet") || has("--exit-code") => {
            Ok(Answer::Differs(revision.dirty))
        }
        "branch" if has("--show-current") => Ok(Answer::Text(String::new())),
        _ => bail!("{}", unknown(arguments)),
    }
}

fn unknown(arguments: &[String]) -> String {
    format!(
        "there is no repository here, only the revision that images.toml declares; it does not \
         answer `git {}`",
        arguments.join(" ")
    )
}

/// Returns the words after `-C DIRECTORY`, `-c NAME=VALUE`, `--no-pager` and the like.
fn without_global_options(arguments: &[String]) -> Vec<String> {
    let mut words = arguments.iter();
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-C" | "-c" => drop(words.next()),
            "--version" => return vec![word.clone()],
            word if word.starts_with('-') => {}
            _ => {
                rest.push(word.clone());
                break;
            }
        }
    }
    rest.extend(words.cloned());
    rest
}

/// Returns the format that `log` or `show` was given.
fn format(words: &[String]) -> Option<&str> {
    let options = [
        "--format=",
        "--pretty=format:",
        "--pretty=tformat:",
        "--pretty=",
    ];
    words
        .iter()
        .find_map(|word| options.iter().find_map(|option| word.strip_prefix(option)))
}

impl Revision {
    fn short(&self, digits: usize) -> &str {
        self.commit.get(..digits).unwrap_or(&self.commit)
    }

    /// Returns the name that `rev-parse` was asked for: the full or the short one.
    fn named(&self, words: &[String]) -> String {
        let short = words.iter().find_map(|word| word.strip_prefix("--short"));
        let digits = short.map(|digits| digits.strip_prefix('=').unwrap_or(digits));
        match digits {
            Some(digits) => self.short(digits.parse().unwrap_or(SHORT)).to_owned(),
            None => self.commit.clone(),
        }
    }

    /// Fills in `%H` and the like. <https://git-scm.com/docs/pretty-formats>
    fn formatted(&self, format: &str) -> Result<String> {
        let mut text = String::new();
        let mut rest = format;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            let two = after.get(..2).unwrap_or(after);
            let (value, length) = match two {
                "cd" | "ad" => (date(self.time, Style::Iso), 2),
                "cs" | "as" => (date(self.time, Style::Day), 2),
                "ci" | "ai" => (date(self.time, Style::Iso), 2),
                "cI" | "aI" => (date(self.time, Style::Strict), 2),
                "ct" | "at" => (self.time.to_string(), 2),
                two if two.starts_with('H') => (self.commit.clone(), 1),
                two if two.starts_with('h') => (self.short(SHORT).to_owned(), 1),
                two if two.starts_with('n') => ("\n".to_owned(), 1),
                two if two.starts_with('%') => ("%".to_owned(), 1),
                _ => bail!("the declared revision has nothing for `%{two}`"),
            };
            text.push_str(&value);
            rest = &after[length..];
        }
        text.push_str(rest);
        Ok(text)
    }
}

enum Style {
    /// `2026-11-28`
    Day,
    /// `2026-11-28 10:00:00 +0000`
    Iso,
    /// `2026-11-28T10:00:00+00:00`
    Strict,
}

/// Writes a time in UTC.
fn date(time: i64, style: Style) -> String {
    let (days, seconds) = (time.div_euclid(86_400), time.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    let date = format!("{year:04}-{month:02}-{day:02}");
    match style {
        Style::Day => date,
        Style::Iso => format!("{date} {clock} +0000"),
        Style::Strict => format!("{date}T{clock}+00:00"),
    }
}

/// Returns year, month and day for a number of days since 1970.
/// <https://howardhinnant.github.io/date_algorithms.html>
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &str) -> String {
        let revision = Revision {
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            time: 1_709_210_096,
            dirty: true,
        };
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        match answer(&revision, &arguments) {
            Ok(Answer::Text(text)) => text,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_scripts_ask_is_answered() {
        let commit = "0123456789abcdef0123456789abcdef01234567\n";
        assert_eq!(asked("rev-parse HEAD"), commit);
        assert_eq!(
            asked("-C /workspace --no-pager rev-parse --verify HEAD"),
            commit
        );
        assert_eq!(asked("rev-parse --short HEAD"), "0123456\n");
        assert_eq!(asked("rev-parse --short=10 HEAD"), "0123456789\n");
        assert_eq!(asked("describe --always --dirty --tags"), "0123456-dirty\n");
        assert_eq!(asked("show --format=%cs"), "2024-02-29\n");
        assert_eq!(
            asked("log -1 --pretty=format:%h-%cI"),
            "0123456-2024-02-29T12:34:56+00:00\n"
        );
        assert_eq!(asked("status --porcelain"), " M changed\n");
        assert_eq!(asked("diff --quiet"), "Ok(Differs(true))");
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert!(asked("rev-list --count HEAD").contains("git rev-list --count HEAD"));
        assert!(asked("log -1 --format=%an").contains("%an"));
    }
}
