//! The running parts of a node without k3s, recorded for `cluster health`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::files;

/// A node that has started everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// The gateway's address.
    pub gateway: String,
    /// The names of all supervisors that must run.
    pub supervisors: Vec<String>,
}

impl Node {
    /// Writes the record.
    ///
    /// # Errors
    /// When the directory can't be written.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        files::write(&file(data_dir), &mut serde_json::to_vec(self)?.as_slice())
    }

    /// Reads the record that the node wrote.
    ///
    /// # Errors
    /// When the node has not written it yet, or it can't be read.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = file(data_dir);
        match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("the node has not started, there is no {}", path.display())
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Removes the record of an earlier node.
    pub(crate) fn forget(data_dir: &Path) {
        let _ = std::fs::remove_file(file(data_dir));
    }
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("node.json")
}
