//! Writes the results as tables for people and for programs, and as a picture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crateyard_engines::Engine;
use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};

use crate::observe::Seen;
use crate::scenario::Scenario;

mod picture;

/// The outcome of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "lowercase")]
pub enum Verdict {
    /// The engine built exactly what it should.
    Pass,
    /// The engine built something else. The text is the difference.
    Fail(String),
    /// The scenario was not run. The text is the reason.
    Skipped(String),
}

/// One scenario with one engine.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The engine.
    pub engine: Engine,
    /// The edit.
    pub scenario: Scenario,
    /// The comparison of expected and actual builds.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The packages that the engine may compile.
    pub expected: String,
    /// The images that may change.
    pub expected_images: String,
    /// The engine's results.
    pub seen: Option<Seen>,
}

/// All rows. They come from one machine.
#[derive(Serialize, Deserialize)]
pub struct Report {
    /// The number of things that the machine does at once.
    cores: usize,
    rows: Vec<Row>,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            rows: Vec::new(),
        }
    }
}

/// The file of results, which later runs add to.
const JSON: &str = "bench.json";

/// Up to this many packages are named; more are only counted.
const NAMED: usize = 4;

impl Report {
    /// Reads the results of an earlier run from a directory. Without such results, returns none.
    ///
    /// # Errors
    /// When they can't be read, or come from another machine.
    pub fn read(directory: &Path) -> Result<Report> {
        let path = directory.join(JSON);
        let empty = Report::default();
        if !path.exists() {
            return Ok(empty);
        }
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let report: Report = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a result of this version", path.display()))?;
        if report.cores != empty.cores {
            bail!(
                "{} was measured on {} cores, and this machine has {}: the times can't be compared",
                path.display(),
                report.cores,
                empty.cores
            );
        }
        Ok(report)
    }

    /// Adds a row, which replaces an earlier one of the same scenario and engine.
    pub fn add(&mut self, row: Row) {
        let is_same = |other: &Row| (other.scenario, other.engine) == (row.scenario, row.engine);
        self.rows.retain(|other| !is_same(other));
        self.rows.push(row);
        self.rows.sort_by_key(|row| (row.scenario, row.engine));
    }

    /// Whether an engine built too much or too little.
    pub fn has_failed(&self) -> bool {
        let mut verdicts = self.rows.iter().map(|row| &row.verdict);
        verdicts.any(|verdict| matches!(verdict, Verdict::Fail(_)))
    }

    /// Writes the results in all forms to a directory.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        for (name, text) in [
            ("bench.tsv", self.tsv()),
            ("bench.md", self.page()),
            (JSON, json),
            ("bench.svg", picture::draw(&self.rows, self.cores)),
        ] {
            crateyard_terminal::write_to(&directory.join(name), &text)?;
        }
        Ok(())
    }

    /// Formats the rows as one line each. Times are in seconds, sizes in bytes.
    fn tsv(&self) -> String {
        let mut text = String::from(
            "scenario\tengine\tverdict\texpected\tpackages\tunits\texpected \
             images\timages\tbytes\tseconds\tratio\treason\n",
        );
        for row in &self.rows {
            let (packages, units, images, bytes, seconds) = match &row.seen {
                None => Default::default(),
                Some(seen) => (
                    join(seen.packages.iter()),
                    seen.units.to_string(),
                    join(seen.images.iter()),
                    seen.bytes.map_or(String::new(), |bytes| bytes.to_string()),
                    format!("{:.3}", seen.wall.as_secs_f64()),
                ),
            };
            let ratio = self
                .ratio(row)
                .map_or(String::new(), |ratio| format!("{ratio:.2}"));
            let cells = [
                row.scenario.title(),
                row.engine.name(),
                row.verdict.word(),
                &row.expected,
                &packages,
                &units,
                &row.expected_images,
                &images,
                &bytes,
                &seconds,
                &ratio,
                row.verdict.reason(),
            ];
            text += &cells.join("\t");
            text.push('\n');
        }
        text
    }

    /// Formats a page with the picture and the table.
    fn page(&self) -> String {
        format!(
            "# What is built again after a change\n\n![Time to build all images after a \
             change](bench.svg)\n\nWritten by `assemble bench`, on a machine with {} cores. Bytes \
             are those of blobs that no image had before; of a fresh runner, what came from the \
             cache.\n\n{}",
            self.cores,
            self.markdown()
        )
    }

    /// Formats the results as a Markdown table.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| scenario | engine | expected | compiled | units | other images | bytes | time | × \
             cargo | |\n|---|---|---|---|--:|---|--:|--:|--:|---|\n",
        );
        for row in &self.rows {
            let verdict = match &row.verdict {
                Verdict::Pass => "PASS".to_owned(),
                Verdict::Fail(reason) => format!("**FAIL**: {reason}"),
                Verdict::Skipped(reason) => format!("skipped: {reason}"),
            };
            let seen = row.seen.as_ref();
            let cell = |show: &dyn Fn(&Seen) -> String| seen.map_or("–".to_owned(), show);
            let cells = [
                row.scenario.title().to_owned(),
                row.engine.name().to_owned(),
                row.expected.clone(),
                cell(&|seen| named(&seen.packages, "packages")),
                cell(&|seen| seen.units.to_string()),
                cell(&|seen| named(&seen.images, "images")),
                cell(&|seen| {
                    seen.bytes
                        .map_or("–".to_owned(), |bytes| HumanBytes(bytes).to_string())
                }),
                cell(&|seen| show_time(seen.wall)),
                self.ratio(row)
                    .map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
                verdict,
            ];
            text += &format!("| {} |\n", cells.join(" | "));
        }
        text
    }

    /// Returns the time relative to Cargo's time in the same scenario.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let times: BTreeMap<Engine, f64> = self
            .rows
            .iter()
            .filter(|other| other.scenario == row.scenario)
            .filter_map(|other| Some((other.engine, other.seen.as_ref()?.wall.as_secs_f64())))
            .collect();
        Some(times.get(&row.engine)? / times.get(&Engine::Cargo)?)
    }
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail(_) => "FAIL",
            Verdict::Skipped(_) => "SKIPPED",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Verdict::Pass => "",
            Verdict::Fail(reason) | Verdict::Skipped(reason) => reason,
        }
    }
}

fn join<'n>(names: impl Iterator<Item = &'n String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn named(names: &BTreeSet<String>, noun: &str) -> String {
    match names.len() {
        0 => "none".to_owned(),
        1..=NAMED => join(names.iter()),
        count => format!("{count} {noun}"),
    }
}

fn show_time(time: Duration) -> String {
    match time.as_secs() {
        0..100 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}
