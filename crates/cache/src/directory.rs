//! A binary cache in a directory, as `nix copy --to file://…` makes it, with named builds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crateyard_disk::Entry;

use crate::error::{Error, Result};
use crate::retention::{Collected, Retention, reachable};
use crateyard_nix::{MAX_NARINFO, NarInfo, StorePath};

/// The directory of named builds. Each is a file with one store path a line.
const BUILDS: &str = "builds";
/// The directory of archives.
const ARCHIVES: &str = "nar";
const NARINFO: &str = ".narinfo";
/// The size limit of a build's list of paths, in bytes. It is enough for some hundred thousand
/// paths.
const MAX_BUILD: u64 = 16 << 20;

/// A binary cache in a directory. Others may write to it, so this follows no link in it.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Creates a handle for the cache at `path`, which need not exist.
    pub fn new(path: &Path) -> Directory {
        Directory {
            path: path.to_owned(),
        }
    }

    /// Returns the cache's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the narinfo of the path with this hash.
    ///
    /// # Errors
    /// Fails if the narinfo can't be read or is malformed.
    pub fn narinfo(&self, hash: &str) -> Result<Option<NarInfo>> {
        match self.open()? {
            Some(directory) => read_info(&directory, hash),
            None => Ok(None),
        }
    }

    /// Renews the times of narinfos, so that no collection removes paths that a push is about to
    /// rely on.
    ///
    /// # Errors
    /// Fails if an existing file can't be touched.
    pub fn touch<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) -> Result<()> {
        let Some(directory) = self.open()? else {
            return Ok(());
        };
        for path in paths {
            let name = format!("{}{NARINFO}", path.hash());
            directory
                .touch(&name)
                .map_err(Error::io("touch", self.path.join(name)))?;
        }
        Ok(())
    }

    /// Names a build. The cache must already hold all its paths.
    ///
    /// # Errors
    /// Fails if the disk is full.
    pub fn name_build(&self, name: &str, paths: &BTreeSet<StorePath>) -> Result<()> {
        let text: String = paths.iter().map(|path| format!("{path}\n")).collect();
        crateyard_disk::Directory::create(&self.path)
            .and_then(|directory| directory.write(Path::new(BUILDS).join(name), text.as_bytes()))
            .map_err(Error::io("name a build in", &self.path))
    }

    /// Reads the paths of a named build. Returns `None` if there is no build of that name.
    ///
    /// # Errors
    /// Fails if the list can't be read or is malformed.
    pub fn build(&self, name: &str) -> Result<Option<BTreeSet<StorePath>>> {
        let below = Path::new(BUILDS).join(name);
        let Some(directory) = self.open()? else {
            return Ok(None);
        };
        let failed = Error::io("read", self.path.join(&below));
        let Some(bytes) = directory.read(below, MAX_BUILD).map_err(failed)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let paths = text.lines().map(str::parse);
        Ok(Some(paths.collect::<Result<_, crateyard_nix::Error>>()?))
    }

    /// Removes everything that the retention does not keep. Removes narinfos before archives, so
    /// that a concurrent reader finds a path whole or not at all.
    ///
    /// # Errors
    /// Fails if a file is malformed or can't be removed. Paths that were not removed by then are
    /// still whole.
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
        let Some(directory) = self.open()? else {
            return Ok(collected);
        };
        let infos = self.infos(&directory)?;
        let live = reachable(roots.iter(), |hash| {
            infos.get(hash).map(|(info, _)| info.references.clone())
        });
        if !retention.dry_run {
            if let Some(builds) = self.below(&directory, BUILDS)? {
                for name in &collected.builds {
                    self.remove(&builds, name)?;
                }
            }
        }
        let mut wanted = HashSet::new();
        for (hash, (info, file)) in &infos {
            if live.contains(hash) || retention.is_young(file.modified) {
                wanted.insert(info.url.clone());
                continue;
            }
            collected.paths += 1;
            if !retention.dry_run {
                self.remove(&directory, &file.name)?;
            }
        }
        collected.bytes = self.sweep(&directory, &wanted, retention)?;
        Ok(collected)
    }

    /// Removes the archives that no narinfo names, and returns how many bytes they had.
    fn sweep(
        &self,
        directory: &crateyard_disk::Directory,
        wanted: &HashSet<String>,
        retention: &Retention,
    ) -> Result<u64> {
        let Some(archives) = self.below(directory, ARCHIVES)? else {
            return Ok(0);
        };
        let mut bytes = 0;
        for file in self.files(&archives)? {
            let url = format!("{ARCHIVES}/{}", file.name.to_string_lossy());
            if wanted.contains(&url) || retention.is_young(file.modified) {
                continue;
            }
            bytes += file.size;
            if !retention.dry_run {
                self.remove(&archives, &file.name)?;
            }
        }
        Ok(bytes)
    }

    /// Lists the named builds, with the time of each push.
    fn builds(&self) -> Result<Vec<(String, u64)>> {
        let Some(directory) = self.open()? else {
            return Ok(Vec::new());
        };
        let Some(builds) = self.below(&directory, BUILDS)? else {
            return Ok(Vec::new());
        };
        let files = self.files(&builds)?.into_iter();
        let named = files.map(|file| {
            let pushed = file.modified.duration_since(SystemTime::UNIX_EPOCH);
            let name = file.name.to_string_lossy().into_owned();
            (name, pushed.map_or(0, |time| time.as_secs()))
        });
        // A file that is being written has a temporary name.
        Ok(named.filter(|(name, _)| !name.starts_with('.')).collect())
    }

    /// Maps the hash of each path to its narinfo and the narinfo's file.
    fn infos(
        &self,
        directory: &crateyard_disk::Directory,
    ) -> Result<HashMap<String, (NarInfo, Entry)>> {
        let mut infos = HashMap::new();
        for file in self.files(directory)? {
            let name = file.name.to_string_lossy().into_owned();
            let Some(hash) = name.strip_suffix(NARINFO) else {
                continue;
            };
            if let Some(info) = read_info(directory, hash)? {
                infos.insert(hash.to_owned(), (info, file));
            }
        }
        Ok(infos)
    }

    /// Opens the directory. Returns `None` if it does not exist.
    fn open(&self) -> Result<Option<crateyard_disk::Directory>> {
        match crateyard_disk::Directory::open(&self.path) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &self.path)(error)),
        }
    }

    fn below(
        &self,
        directory: &crateyard_disk::Directory,
        name: &str,
    ) -> Result<Option<crateyard_disk::Directory>> {
        directory
            .directory(name)
            .map_err(Error::io("open", self.path.join(name)))
    }

    fn files(&self, directory: &crateyard_disk::Directory) -> Result<Vec<Entry>> {
        let failed = Error::io("read", directory.path());
        directory.files().map_err(failed)
    }

    fn remove(
        &self,
        directory: &crateyard_disk::Directory,
        name: impl AsRef<std::ffi::OsStr>,
    ) -> Result<()> {
        let failed = Error::io("remove", directory.path().join(name.as_ref()));
        directory.remove_file(name).map_err(failed)
    }
}

fn read_info(directory: &crateyard_disk::Directory, hash: &str) -> Result<Option<NarInfo>> {
    let name = format!("{hash}{NARINFO}");
    let place = directory.path().join(&name);
    let read = directory.read(&name, MAX_NARINFO);
    let Some(bytes) = read.map_err(Error::io("read", &place))? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let info = NarInfo::parse(&text, &place.display().to_string())?;
    Ok(Some(info))
}
