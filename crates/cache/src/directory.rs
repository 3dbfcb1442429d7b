//! A binary cache in a directory, as `nix copy --to file://…` makes it, with named builds beside it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::file::replace;
use crate::narinfo::NarInfo;
use crate::path::StorePath;
use crate::retention::{Collected, Retention, reachable};

/// Where named builds are: a file for each, with a path of the store in each line.
const BUILDS: &str = "builds";
const NARINFO: &str = ".narinfo";

/// A binary cache in a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The cache at `path`, which need not exist.
    pub fn new(path: &Path) -> Directory {
        Directory {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of the path with this hash.
    ///
    /// # Errors
    /// When the narinfo can't be read or is malformed.
    pub fn narinfo(&self, hash: &str) -> Result<Option<NarInfo>> {
        let path = self.path.join(format!("{hash}{NARINFO}"));
        match fs::read_to_string(&path) {
            Ok(text) => NarInfo::parse(&text, &path.display().to_string()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// Makes the narinfos of paths young, so that no collection takes what a push is about to rely on.
    ///
    /// # Errors
    /// When a file that is there can't be touched.
    pub fn touch<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) -> Result<()> {
        for path in paths {
            let file = self.path.join(format!("{}{NARINFO}", path.hash()));
            match File::options().append(true).open(&file) {
                Ok(open) => open
                    .set_modified(SystemTime::now())
                    .map_err(Error::io("touch", file))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("touch", file)(error)),
            }
        }
        Ok(())
    }

    /// Names a build. All that it consists of is there already.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn name_build(&self, name: &str, paths: &BTreeSet<StorePath>) -> Result<()> {
        let builds = self.path.join(BUILDS);
        fs::create_dir_all(&builds).map_err(Error::io("create", &builds))?;
        let file = builds.join(name);
        let text: String = paths.iter().map(|path| format!("{path}\n")).collect();
        replace(&file, text.as_bytes())
    }

    /// The paths of a named build; `None` where there is none of that name.
    ///
    /// # Errors
    /// When it can't be read or is malformed.
    pub fn build(&self, name: &str) -> Result<Option<BTreeSet<StorePath>>> {
        let file = self.path.join(BUILDS).join(name);
        match fs::read_to_string(&file) {
            Ok(text) => text
                .lines()
                .map(str::parse)
                .collect::<Result<_>>()
                .map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", file)(error)),
        }
    }

    /// Gives up what the retention does not keep. Narinfos go before archives, so that whoever reads meanwhile finds
    /// a path whole or not at all.
    ///
    /// # Errors
    /// When a file is malformed or can't be removed. What was removed by then is gone; the rest is whole.
    pub fn collect(&self, retention: &Retention) -> Result<Collected> {
        let builds = self.builds()?;
        let mut collected = Collected {
            builds: retention.expired(builds.iter().map(|(name, pushed)| (name.as_str(), *pushed))),
            ..Collected::default()
        };
        let mut roots = BTreeSet::new();
        for (name, _) in &builds {
            if !collected.builds.contains(name) {
                roots.extend(self.build(name)?.unwrap_or_default());
            }
        }
        let infos = self.infos()?;
        let live = reachable(roots.iter(), |hash| {
            infos.get(hash).map(|(info, _)| info.references.clone())
        });
        let is_kept = |hash: &str, path: &Path| live.contains(hash) || is_young(path, retention);
        if !retention.dry_run {
            for name in &collected.builds {
                remove(&self.path.join(BUILDS).join(name))?;
            }
        }
        let mut wanted = HashSet::new();
        for (hash, (info, path)) in &infos {
            if is_kept(hash, path) {
                wanted.insert(info.url.clone());
                continue;
            }
            collected.paths += 1;
            if !retention.dry_run {
                remove(path)?;
            }
        }
        collected.bytes = self.sweep(&wanted, retention)?;
        Ok(collected)
    }

    /// Removes the archives that no narinfo names, and gives their bytes.
    fn sweep(&self, wanted: &HashSet<String>, retention: &Retention) -> Result<u64> {
        let mut bytes = 0;
        for path in files(&self.path.join("nar"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if wanted.contains(&format!("nar/{name}")) || is_young(&path, retention) {
                continue;
            }
            bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if !retention.dry_run {
                remove(&path)?;
            }
        }
        Ok(bytes)
    }

    /// Named builds, and when each was pushed.
    fn builds(&self) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for path in files(&self.path.join(BUILDS))? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let modified = modified.map_err(Error::io("read", &path))?;
            let pushed = modified.duration_since(SystemTime::UNIX_EPOCH);
            // One that is being written has a name of its own.
            if !name.starts_with('.') {
                found.push((name, pushed.map_or(0, |time| time.as_secs())));
            }
        }
        Ok(found)
    }

    /// Hash of a path to its narinfo and where that is.
    fn infos(&self) -> Result<HashMap<String, (NarInfo, PathBuf)>> {
        let mut infos = HashMap::new();
        for path in files(&self.path)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Some(hash) = name.strip_suffix(NARINFO) else {
                continue;
            };
            if let Some(info) = self.narinfo(hash)? {
                infos.insert(hash.to_owned(), (info, path));
            }
        }
        Ok(infos)
    }
}

fn is_young(path: &Path, retention: &Retention) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| retention.is_young(modified))
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(Error::io("remove", path))
}

/// The files of a directory, sorted; none where there is no directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory)(error)),
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}
