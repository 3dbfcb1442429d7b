//! Waits for an edit.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use crateyard_workspace::git;

/// The time between two checks of the files.
const PAUSE: Duration = Duration::from_millis(500);

/// The state of files: path, size and time of each.
type Look = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// The state of a workspace's files and of some other files at one time.
pub struct Watch {
    top: PathBuf,
    others: Vec<PathBuf>,
    last: Look,
}

impl Watch {
    /// Reads the state of the files that git tracks around a workspace, and of other files.
    ///
    /// # Errors
    /// When git can't be queried.
    pub fn new(workspace: &Path, others: &[PathBuf]) -> Result<Self> {
        let mut watch = Self {
            top: git::top(workspace)?,
            others: others.to_vec(),
            last: Look::new(),
        };
        watch.last = watch.look()?;
        Ok(watch)
    }

    /// Waits until a file differs from its state at the last call, or at the start. Edits in quick
    /// succession count as one.
    ///
    /// # Errors
    /// When git can't be queried.
    pub fn wait(&mut self) -> Result<()> {
        loop {
            sleep(PAUSE);
            let look = self.look()?;
            if look == self.last {
                continue;
            }
            self.last = look;
            while {
                sleep(PAUSE);
                let look = self.look()?;
                let is_same = look == self.last;
                self.last = look;
                !is_same
            } {}
            return Ok(());
        }
    }

    fn look(&self) -> Result<Look> {
        let tracked = git::tracked(&self.top)?.unwrap_or_default();
        let tracked = tracked.into_iter().map(|file| self.top.join(file));
        let all = tracked.chain(self.others.iter().cloned());
        let look = all.filter_map(|path| {
            // A removed file has no state.
            let status = fs::symlink_metadata(&path).ok()?;
            Some((path, status.len(), status.modified().ok()))
        });
        Ok(look.collect())
    }
}
