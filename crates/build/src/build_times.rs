//! Records the times of an image's build in a CI run, for the image's provenance.
//!
//! Nix knows no times, so the documents beside an image have none. The command that builds knows
//! them. It keeps them in the workspace until a push attaches the provenance. They count only in
//! the run that built the image. If the same run builds the image again, the first times stay,
//! because that build had nothing left to do.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use crateyard_attestation::provenance::Times;
use crateyard_oci::{Digest, Layout};
use crateyard_terminal::note;
use crateyard_text::time::rfc3339;
use crateyard_workspace::state::State;
use serde::{Deserialize, Serialize};

use crate::invocation;

/// The directory of the records, below the state.
const DIRECTORY: &str = "built";
/// The size limit for reading a record, in bytes.
const MAX_RECORD: u64 = 64 * 1024;

/// The times at which a run built an image.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The run's address.
    run: String,
    times: Times,
}

/// Records the time of a build, from `began` until now, for the images of a layout. Outside of a CI
/// run, or if the workspace is read-only, it records nothing and does not fail.
pub fn remember(workspace: &Path, layout: &Path, began: SystemTime) {
    let Some(run) = invocation::here().and_then(|it| it.run) else {
        return;
    };
    let record = Record {
        run,
        times: Times {
            started_on: text(began),
            finished_on: text(SystemTime::now()),
        },
    };
    if let Err(error) = try_remember(workspace, layout, &record) {
        note!(
            "the provenance of {} will have no times: {error:#}",
            layout.display()
        );
    }
}

fn try_remember(workspace: &Path, layout: &Path, record: &Record) -> Result<()> {
    for image in Layout::open(layout)?.images()? {
        let digest = &image.descriptor.digest;
        if find(workspace, digest, &record.run)?.is_none() {
            State::of(workspace)?.write(file(digest), &serde_json::to_vec(record)?)?;
        }
    }
    Ok(())
}

/// Returns the times at which this run built the image with this digest, or `None` if it did not.
///
/// # Errors
/// When the record can't be read.
pub fn find(workspace: &Path, digest: &Digest, run: &str) -> Result<Option<Times>> {
    let Some(state) = State::find(workspace)? else {
        return Ok(None);
    };
    let record = state.read(file(digest), MAX_RECORD)?;
    let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    Ok(record.filter(|it| it.run == run).map(|it| it.times))
}

fn file(digest: &Digest) -> PathBuf {
    let name = digest.as_str().replace(':', "-");
    [DIRECTORY, &format!("{name}.json")].iter().collect()
}

/// Formats a time as RFC 3339 in UTC, in whole seconds.
fn text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs())
}
