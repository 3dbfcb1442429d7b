//! Shows a build to people and to programs.
//!
//! A terminal gets one line that changes in place, a log gets a line at intervals, and programs get
//! JSON lines.

mod diagnostic;
mod log;

use self::log::Log;
use anyhow::{Context, Result};
use crateyard_drive::event::Event;
use crateyard_terminal::{Pulse, clean, without_passwords};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::File;
use std::io::{IsTerminal, LineWriter, Write, stderr};
use std::path::Path;
use std::time::Duration;

/// The number of running builds whose names fit on the line.
const NAMES: usize = 3;

/// Shows the progress of a build, and writes events.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Standard error, if it is a file or a pipe and gets no JSON lines.
    log: Option<Log>,
    events: Option<Box<dyn Write>>,
    /// The number of finished builds that the events last reported.
    told: Option<usize>,
}

impl Progress {
    /// Shows the progress of a workspace's build on standard error: in place on a terminal,
    /// otherwise as a log. If `events` is given, that file gets JSON lines. If it is `-`, standard
    /// error gets JSON lines and nothing else.
    ///
    /// # Errors
    /// When the file can't be made.
    pub(crate) fn new(workspace: &Path, events: Option<&Path>) -> Result<Self> {
        let to_stderr = events == Some(Path::new("-"));
        let is_terminal = stderr().is_terminal();
        let bar = match is_terminal && !to_stderr {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Ok(Self {
            bar,
            log: (!is_terminal && !to_stderr).then(|| Log::of(workspace)),
            events: match events {
                None => None,
                Some(_) if to_stderr => Some(Box::new(stderr())),
                Some(path) => Some(Box::new(LineWriter::new(
                    File::create(path)
                        .with_context(|| format!("cannot write events to {}", path.display()))?,
                ))),
            },
            told: None,
        })
    }

    /// Shows activity while there is nothing to count yet. A log gets lines until the returned
    /// value is dropped.
    #[must_use]
    pub(crate) fn phase(&self, text: &'static str) -> Option<Pulse> {
        self.bar.enable_steady_tick(Duration::from_millis(120));
        self.bar.set_message(text.to_owned());
        let pulse = || Pulse::in_log(move || text.to_owned());
        self.log.as_ref().and_then(|_| pulse())
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, event: &Event) {
        self.tell(event);
        if let Some(log) = &mut self.log {
            log.show(event);
            return;
        }
        match event {
            Event::Fetched { path, from, .. } => {
                let name = crateyard_nix::name_of(path);
                let text = format!("fetched {name} from {from}");
                let text = without_passwords(&text);
                self.bar.set_message(clean(&text).into_owned());
            }
            Event::Progress {
                done,
                of,
                running,
                left,
                overdue,
            } => {
                let text = line(*done, *of, running, &rest(*left, *overdue));
                self.bar.set_message(clean(&text).into_owned());
            }
            Event::Failed {
                name, message, log, ..
            } => self
                .bar
                .suspend(|| crateyard_terminal::log(&failure(name, message, log))),
            _ => {}
        }
    }

    /// Writes the event for programs. They get the totals whenever a build has finished.
    fn tell(&mut self, event: &Event) {
        let Some(events) = &mut self.events else {
            return;
        };
        if let Event::Progress { done, .. } = event {
            if self.told.replace(*done) == Some(*done) {
                return;
            }
        }
        if let Ok(text) = serde_json::to_string(event) {
            // The build goes on even if the reader has closed the file.
            let text = without_passwords(&text);
            let _ = writeln!(events, "{}", crateyard_terminal::cleaned_json(&text));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(done: usize, of: usize, running: &[String], rest: &str) -> String {
    let width = of.to_string().len();
    let mut names: Vec<&str> = running.iter().take(NAMES).map(String::as_str).collect();
    let more = format!("{} more", running.len().saturating_sub(NAMES));
    if running.len() > NAMES {
        names.push(&more);
    }
    format!("{done:>width$}/{of} · {rest} · {}", names.join(", "))
}

/// Says how long the rest of a build takes.
fn rest(left: f64, overdue: bool) -> String {
    match overdue {
        false => format!("{} left", clock(left)),
        true if left < 1.0 => "longer than expected".to_owned(),
        true => format!("over {} left", clock(left.floor())),
    }
}

/// Formats seconds for people.
fn clock(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Formats a failure in full: the builder's output, and Nix's reason.
fn failure(name: &str, message: &str, log: &str) -> String {
    let mut text = log.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    // Newer versions of Nix repeat the end of the log in the reason.
    let reason = match log.is_empty() {
        true => message,
        false => message.lines().next().unwrap_or_default(),
    };
    text + &format!("{name}: {}\n", reason.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_runs_and_how_long() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(
            line(7, 120, &names, &rest(83.2, false)),
            "  7/120 · 1 min 24 s left · a, b, c, 1 more"
        );
        assert_eq!(clock(0.2), "1 s");
        assert_eq!(clock(7260.0), "2 h 01 min");
    }

    #[test]
    fn no_time_is_promised_while_a_build_overruns() {
        assert_eq!(rest(0.0, true), "longer than expected");
        assert_eq!(rest(5.7, true), "over 5 s left");
        assert_eq!(rest(0.2, false), "1 s left");
    }

    #[test]
    fn events_have_no_passwords() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("events");
        let mut progress = Progress::new(directory.path(), Some(&file)).unwrap();
        progress.show(&Event::Fetched {
            path: "/nix/store/00000000000000000000000000000000-a".to_owned(),
            from: "https://bob:secret@cache.example".to_owned(),
            start: 0.0,
            end: 1.0,
        });
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("https://bob:…@cache.example"), "{text}");
    }

    #[test]
    fn a_failure_is_shown_whole_and_said_once() {
        let message = "error: builder failed\n       last 10 log lines:\n       > x";
        assert_eq!(failure("a", message, "x\n"), "x\na: builder failed\n");
        assert_eq!(failure("a", "no builder", ""), "a: no builder\n");
    }
}
