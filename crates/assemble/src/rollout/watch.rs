//! Waits for an edit.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::git;

/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// What files looked like: path, size, time.
type Look = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// The files of a workspace, and others, as they were at some time.
pub struct Watch {
    top: PathBuf,
    others: Vec<PathBuf>,
    last: Look,
}

impl Watch {
    /// Looks at what git tracks of the repository around a workspace, and at other files.
    ///
    /// # Errors
    /// When git can't be asked.
    pub fn new(workspace: &Path, others: &[PathBuf]) -> Result<Self> {
        let mut watch = Self {
            top: git::top(workspace)?,
            others: others.to_vec(),
            last: Look::new(),
        };
        watch.last = watch.look()?;
        Ok(watch)
    }

    /// Waits until a file differs from how it was when this was made, or when this last returned. Edits that come one
    /// after the other are one.
    ///
    /// # Errors
    /// When git can't be asked.
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
            // A file that was removed is one that is not there.
            let status = fs::symlink_metadata(&path).ok()?;
            Some((path, status.len(), status.modified().ok()))
        });
        Ok(look.collect())
    }
}
