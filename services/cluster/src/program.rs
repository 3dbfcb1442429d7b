//! An image's program, unpacked from the image and run without a container.
//!
//! Without privileges there is no chroot. So the program's own dynamic loader starts it with its
//! own libraries: both come from the unpacked image, not from this node's. The loader gets the
//! library path as an argument, so that programs started by the program do not inherit it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::process::Command;
use tracing::info;

use crate::archive::Archive;
use crate::elf;
use crate::rooted::{Missing, resolve};
use crate::unpack::unpack;

/// The usual directories of an image's shared libraries. Their multiarch directories are added.
const LIBRARIES: [&str; 5] = ["lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib"];

/// The PATH for programs of images that set none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The executable to start and its first arguments: the loader, or the program itself.
    start: Vec<PathBuf>,
    /// The arguments of the image's entrypoint.
    arguments: Vec<String>,
    /// The image's environment.
    environment: Vec<(String, String)>,
}

impl Program {
    /// Unpacks the image in `archive` to `root`, a directory that does not exist yet, and finds its
    /// program.
    ///
    /// # Errors
    /// When the archive is damaged or its image has no entrypoint that can be started.
    pub(crate) fn take_out(archive: &Path, root: &Path) -> anyhow::Result<Self> {
        let opened = Archive::open(archive)?;
        let image = opened.image()?;
        fs::create_dir_all(root)?;
        unpack(&opened, &image, root)
            .with_context(|| format!("can't unpack {}", archive.display()))?;
        info!(archive = %archive.display(), root = %root.display(), "image unpacked");
        let config = image.config.config().as_ref();
        let entrypoint = config.and_then(|config| config.entrypoint().clone());
        let environment = config.and_then(|config| config.env().clone());
        Program::find(root, entrypoint, environment)
            .with_context(|| format!("can't run the image in {}", archive.display()))
    }

    fn find(
        root: &Path,
        entrypoint: Option<Vec<String>>,
        environment: Option<Vec<String>>,
    ) -> anyhow::Result<Self> {
        let environment: Vec<(String, String)> = environment
            .iter()
            .flatten()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut entrypoint = entrypoint.into_iter().flatten();
        let name = entrypoint.next().context("it has no entrypoint")?;
        let executable = find_executable(root, &name, &environment)?;
        Ok(Program {
            start: how_to_start(root, executable)?,
            arguments: entrypoint.collect(),
            environment,
        })
    }

    /// Returns a command that starts the program with the image's environment only.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.start[0]);
        command
            .args(&self.start[1..])
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().cloned());
        command
    }
}

fn find_executable(
    root: &Path,
    name: &str,
    environment: &[(String, String)],
) -> anyhow::Result<PathBuf> {
    let find = |path: &Path| {
        let found = resolve(root, path, Missing::Fail).ok();
        found.filter(|found| found.is_file())
    };
    let missing = || format!("its entrypoint {name:?} is not in it");
    if name.contains('/') {
        return find(Path::new(name)).with_context(missing);
    }
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(PATH, |(_, value)| value);
    let mut directories = path.split(':');
    directories
        .find_map(|directory| find(&Path::new(directory).join(name)))
        .with_context(missing)
}

fn how_to_start(root: &Path, executable: PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    let Some(interpreter) = elf::interpreter(&executable)? else {
        return Ok(vec![executable]);
    };
    let loader = resolve(root, &interpreter, Missing::Fail)
        .with_context(|| format!("its dynamic loader {} is not in it", interpreter.display()))?;
    let library_path = library_path(root)?;
    let mut start = vec![loader];
    if interpreter.to_string_lossy().contains("/ld-linux") {
        // glibc's loader must not fall back to the node's own libraries.
        start.push("--inhibit-cache".into());
    }
    start.extend(["--library-path".into(), library_path.into(), executable]);
    Ok(start)
}

/// Returns all library directories of the image, in the loader's format.
fn library_path(root: &Path) -> anyhow::Result<String> {
    let mut directories = Vec::new();
    for directory in LIBRARIES {
        let Ok(directory) = resolve(root, Path::new(directory), Missing::Fail) else {
            continue;
        };
        directories.extend(multiarch(&directory)?);
        directories.push(directory);
    }
    let mut path = Vec::<String>::new();
    for directory in directories {
        let directory = directory.display().to_string();
        ensure!(
            !directory.contains([':', ';']),
            "{directory:?}: no library path can hold this name"
        );
        if !path.contains(&directory) {
            path.push(directory);
        }
    }
    Ok(path.join(":"))
}

/// Returns directories such as `x86_64-linux-gnu`.
fn multiarch(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        let named = entry.file_name().to_string_lossy().contains("-linux-");
        if named && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
