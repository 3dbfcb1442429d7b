//! Shows a build as a log, for standard error that is a file, a pipe or the console of a CI system.

use super::diagnostic::{Diagnostic, Sources};
use super::{failure, line, rest};
use crateyard_drive::event::Event;
use crateyard_terminal::{INTERVAL, clean};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Instant;

/// Writes lines to standard error.
pub(super) struct Log {
    /// The time of the last report on the state of the build.
    last: Instant,
    markup: Markup,
}

/// The markup that a CI system understands.
enum Markup {
    None,
    /// Workflow commands of GitHub Actions: a failure's log becomes a group that can be folded, and
    /// its first error becomes an annotation of the run.
    /// <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>
    GitHub(Sources),
}

impl Log {
    /// Makes a log for the build of a workspace, and for the CI system that this process runs in,
    /// if it is known.
    pub(super) fn of(workspace: &Path) -> Self {
        let github = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        Self {
            last: Instant::now(),
            markup: match github {
                true => Markup::GitHub(Sources::of(workspace)),
                false => Markup::None,
            },
        }
    }

    /// Writes the part of an event that matters to people.
    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Planned {
                to_build,
                to_fetch,
                jobs,
                ..
            } if to_build + to_fetch > 0 => {
                self.last = Instant::now();
                crateyard_terminal::log(&format!("{}\n", planned(*to_build, *to_fetch, *jobs)));
            }
            Event::Progress {
                done,
                of,
                running,
                left,
                overdue,
            } if self.is_due() => {
                let text = line(*done, *of, running, &rest(*left, *overdue));
                crateyard_terminal::log(&format!("{}\n", clean(&text)));
            }
            Event::Failed {
                name, message, log, ..
            } => match &self.markup {
                Markup::None => crateyard_terminal::log(&failure(name, message, log)),
                Markup::GitHub(sources) => {
                    crateyard_terminal::markup(&folded(sources, name, message, log));
                }
            },
            _ => {}
        }
    }

    /// Whether the interval has passed. If so, starts a new one.
    fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= INTERVAL;
        if due {
            self.last = Instant::now();
        }
        due
    }
}

fn planned(to_build: usize, to_fetch: usize, jobs: usize) -> String {
    let mut parts = Vec::new();
    if to_fetch > 0 {
        parts.push(format!("{to_fetch} to fetch"));
    }
    if to_build > 0 {
        parts.push(format!("{to_build} to build, {jobs} at once"));
    }
    parts.join(", ")
}

/// Writes a failure as a group with its log, and an annotation.
fn folded(sources: &Sources, name: &str, message: &str, log: &str) -> String {
    let text = failure(name, message, log);
    // GitHub must not read a builder's output as commands. No output can contain its own hash, so
    // the token does not occur in it.
    let token = token(&text);
    format!(
        "::group::log of {}\n::stop-commands::{token}\n{text}::{token}::\n::endgroup::\n{}",
        github_data(name),
        annotation(sources, name, message, log)
    )
}

/// Writes the command that annotates the run with the first error of a log, or else with Nix's
/// reason.
fn annotation(sources: &Sources, name: &str, message: &str, log: &str) -> String {
    let found = Diagnostic::first(&plain(log));
    let place = found.as_ref().and_then(|found| found.place.as_ref());
    let file = place.and_then(|place| Some((sources.file(&place.file)?, place)));
    let mut properties = String::new();
    if let Some((file, place)) = file {
        properties = format!(
            "file={},line={},col={},",
            github_property(&file),
            place.line,
            place.column
        );
    }
    let reason = plain(message.lines().next().unwrap_or_default());
    let reason = reason.trim_start_matches("error: ");
    let reason = found
        .as_ref()
        .map_or(reason, |found| found.message.as_str());
    format!(
        "::error {properties}title={}::{}\n",
        github_property(name),
        github_data(reason)
    )
}

/// Removes colours from a text, because annotations do not show them.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // An escape sequence ends with a letter.
        let end = part.find(|it: char| it.is_ascii_alphabetic());
        plain += &part[end.map_or(0, |at| at + 1)..];
    }
    plain
}

/// Makes a word that does not occur in the text.
fn token(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Escapes the text after the `::` of a workflow command.
fn github_data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes the value of a property of a workflow command.
fn github_property(text: &str) -> String {
    github_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_there_is_to_do() {
        assert_eq!(planned(0, 3, 2), "3 to fetch");
        assert_eq!(planned(7, 0, 2), "7 to build, 2 at once");
        assert_eq!(planned(7, 3, 2), "3 to fetch, 7 to build, 2 at once");
    }

    #[test]
    fn a_line_is_due_once_in_an_interval() {
        let mut log = Log {
            last: Instant::now(),
            markup: Markup::None,
        };
        assert!(!log.is_due());
        log.last = log.last.checked_sub(INTERVAL).unwrap();
        assert!(log.is_due());
        assert!(!log.is_due());
    }

    #[test]
    fn a_failure_is_an_annotation_on_github() {
        let directory = tempfile::tempdir().unwrap();
        let sources = Sources::of(directory.path());
        let message = "error: builder for 'x' failed: 100%";
        let log = "::add-path::/tmp\n";
        let shown = folded(&sources, "a:b-0.1.0", message, log);
        let token = token(&failure("a:b-0.1.0", message, log));
        assert_eq!(
            shown,
            format!(
                "::group::log of a:b-0.1.0\n::stop-commands::{token}\n::add-path::/tmp\n\
                 a:b-0.1.0: builder for 'x' failed: 100%\n::{token}::\n::endgroup::\n\
                 ::error title=a%3Ab-0.1.0::builder for 'x' failed: 100%25\n"
            )
        );
        assert_eq!(
            failure("a", message, "cause\n"),
            "cause\na: builder for 'x' failed: 100%\n"
        );
        let coloured = "\u{1b}[31;1merror: \u{1b}[0mbuilder for '\u{1b}[35;1mx\u{1b}[0m' failed";
        let shown = folded(&sources, "a", coloured, "");
        let last = shown.lines().last();
        assert_eq!(last, Some("::error title=a::builder for 'x' failed"));
    }

    #[test]
    fn an_annotation_is_at_the_compilers_first_error() {
        let directory = tempfile::tempdir().unwrap();
        let name = "src/a,b:c%.rs";
        std::fs::create_dir(directory.path().join("src")).unwrap();
        std::fs::write(directory.path().join(name), "").unwrap();
        let sources = Sources::of(directory.path());
        let annotated = |place: &str| {
            let log = format!(
                "\u{1b}[1m\u{1b}[91merror[E0425]\u{1b}[0m\u{1b}[1m: cannot find `x`, \
                 50%\u{1b}[0m\n \u{1b}[94m--> \u{1b}[0m{place}:3:9\n  |\n"
            );
            annotation(&sources, "a-0.1.0", "builder failed", &log)
        };
        assert_eq!(
            annotated(name),
            "::error file=src/a%2Cb%3Ac%25.rs,line=3,col=9,title=a-0.1.0\
             ::error[E0425]: cannot find `x`, 50%25\n"
        );
        assert_eq!(
            annotated("/cargo/registry/a-1.0.0/src/lib.rs"),
            "::error title=a-0.1.0::error[E0425]: cannot find `x`, 50%25\n"
        );
    }
}
