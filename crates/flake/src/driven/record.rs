//! What a build leaves behind: the measured times, the record, and the bootstrap programs.

use super::Session;
use crate::programs::{self, Kept};
use anyhow::{Context as _, Result};
use crateyard_drive::build_record::{BuildRecord, Outcome};
use crateyard_drive::durations;
use crateyard_drive::event::Event;
use crateyard_terminal::{note, warning};
use crateyard_workspace::state::State;
use std::path::PathBuf;

/// The file in [`State`] that records the last build.
const RECORD: &str = "build.json";
/// The size limit for reading a record, in bytes. A thousand units take about a megabyte.
const MAX_RECORD: u64 = 256 << 20;

impl Session<'_> {
    /// Saves the measured times, the record and the bootstrap programs, even if the build failed or
    /// was interrupted.
    pub(super) fn remember(&mut self) {
        let saved = durations::default_path().map_or(Ok(()), |path| self.durations.save(&path));
        for error in [saved.map_err(Into::into), self.write_record()]
            .into_iter()
            .filter_map(Result::err)
        {
            warning!("{error:#}");
        }
        if let Err(error) = self.keep_programs() {
            note!("another store will need the bootstrap programs again: {error:#}");
        }
    }

    /// Keeps the bootstrap programs that were built or came from a cache, so that no other store of
    /// this user needs to build them.
    fn keep_programs(&self) -> Result<()> {
        let store = &self.driver.settings().launch.store;
        let fetched = self.record.fetched.iter().map(|fetch| fetch.path.clone());
        let mut paths: Vec<String> = fetched.filter(|path| programs::is_program(path)).collect();
        let built = self.record.units.iter().filter(|unit| {
            unit.outcome == Outcome::Built && programs::is_program(&unit.derivation)
        });
        for unit in built {
            let outputs = store.derivation(&unit.derivation)?.outputs;
            paths.extend(outputs.into_values().map(|output| output.path));
        }
        match paths.is_empty() {
            true => Ok(()),
            false => Kept::open()?.keep(store, paths.iter().map(String::as_str)),
        }
    }

    /// Writes the record of the build. If there was nothing to do, keeps the last record.
    fn write_record(&mut self) -> Result<()> {
        if self.record.units.is_empty() && self.record.fetched.is_empty() {
            return Ok(());
        }
        let units = &self.record.units;
        let count = |outcome| units.iter().filter(|unit| unit.outcome == outcome).count();
        let done = Event::Done {
            built: count(Outcome::Built),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
            fetched: self.record.fetched.len(),
            seconds: self.now(),
        };
        self.progress.show(&done);
        self.record.seconds = self.now();
        self.record.mark_critical();
        if self.record.images.is_empty() {
            // The build ended before it had seen all of them.
            for (name, paths) in std::mem::take(&mut self.previous.derivations) {
                self.record.derivations.entry(name).or_insert(paths);
            }
        }
        let written = self.request.state.write(RECORD, &self.record.to_bytes());
        written.with_context(|| {
            format!(
                "cannot write {}",
                path_of_record(self.request.state).display()
            )
        })
    }
}

/// Returns the record of the last build, or `None` if there is none.
///
/// # Errors
/// When it can't be read, or another version wrote it.
pub fn record(state: &State) -> Result<Option<BuildRecord>> {
    let path = path_of_record(state);
    let read = state.read(RECORD, MAX_RECORD);
    let read = read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(read
        .map(|text| BuildRecord::parse(&text, &path))
        .transpose()?)
}

fn path_of_record(state: &State) -> PathBuf {
    state.path().join(RECORD)
}
