//! The outputs of all units below a unit, and their places inside the cell.

use crate::directives::Directives;
use crate::files;
use crate::output::Placement;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every output that a unit may use, sorted by path.
pub struct Closure {
    members: BTreeMap<PathBuf, Placement>,
}

impl Closure {
    /// Reads the closure of `inputs`.
    ///
    /// # Errors
    /// When one of them is not a unit's output.
    pub fn of(inputs: &[PathBuf]) -> Result<Self> {
        let mut members = BTreeMap::new();
        let mut pending: Vec<PathBuf> = inputs.to_vec();
        // Each output names its whole closure, so one step down is enough.
        for input in inputs {
            let list = input.join("closure");
            let text = std::fs::read_to_string(&list)
                .with_context(|| format!("{} is not the output of a unit", input.display()))?;
            pending.extend(text.lines().map(PathBuf::from));
        }
        pending.sort();
        pending.dedup();
        for path in pending {
            let placement = files::read_json(&path.join("unit.json"))?;
            members.insert(path, placement);
        }
        Ok(Self { members })
    }

    /// The outputs, sorted.
    pub fn outputs(&self) -> impl Iterator<Item = &Path> {
        self.members.keys().map(PathBuf::as_path)
    }

    /// The outputs of build scripts that ran, sorted.
    pub fn build_script_runs(&self) -> impl Iterator<Item = &Path> {
        let runs = self.members.iter().filter(|(_, p)| p.is_build_script_run);
        runs.map(|(path, _)| path.as_path())
    }

    /// Makes the files of every member stand where Cargo would have put them.
    ///
    /// # Errors
    /// When a link can't be made.
    pub fn link_into_place(&self) -> Result<()> {
        for (path, placement) in &self.members {
            let place = Path::new(&placement.out_dir);
            let stored = path.join("files");
            if placement.is_build_script_run {
                if let Some(parent) = place.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                files::link(&stored, place)?;
                continue;
            }
            std::fs::create_dir_all(place)
                .with_context(|| format!("cannot create {}", place.display()))?;
            for name in files::names(&stored)? {
                // A library's metadata may be there twice: in its own output and beside the code.
                files::link_once(&stored.join(&name), &place.join(&name))?;
            }
        }
        Ok(())
    }

    /// What the build script whose `OUT_DIR` is `out_dir` has said.
    ///
    /// # Errors
    /// When no member is that build script's output.
    pub fn directives(&self, out_dir: &str) -> Result<Directives> {
        for (path, placement) in &self.members {
            if placement.is_build_script_run && placement.out_dir == out_dir {
                return files::read_json(&path.join("directives.json"));
            }
        }
        bail!("no input of this unit is the build script's output {out_dir:?}")
    }
}
