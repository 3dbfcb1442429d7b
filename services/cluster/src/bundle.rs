//! The bundle of a node image: the files that a node needs to start without a registry.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// The files of a bundle directory. All are optional except for the two images.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    /// `gateway.tar`: an OCI archive.
    pub gateway: PathBuf,
    /// `supervisor.tar`: an OCI archive.
    pub supervisor: PathBuf,
    /// `charts/*.tgz`, sorted.
    pub charts: Vec<PathBuf>,
    /// `manifests/*.yaml`, sorted.
    pub manifests: Vec<PathBuf>,
}

impl Bundle {
    /// Reads the names of the directory's files.
    ///
    /// # Errors
    /// When an image is missing or a directory can't be read.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        Ok(Bundle {
            gateway: image(directory, "gateway.tar")?,
            supervisor: image(directory, "supervisor.tar")?,
            charts: with_extension(&directory.join("charts"), "tgz")?,
            manifests: with_extension(&directory.join("manifests"), "yaml")?,
        })
    }
}

fn image(directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    ensure!(
        path.is_file(),
        "the bundle has no {}; name the directory that has it by --bundle or CLUSTER_BUNDLE",
        path.display()
    );
    Ok(path)
}

fn with_extension(directory: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = directory
        .read_dir()
        .and_then(|entries| entries.map(|e| Ok(e?.path())).collect());
    let mut paths: Vec<PathBuf> =
        entries.with_context(|| format!("can't list {}", directory.display()))?;
    paths.retain(|path| path.extension() == Some(OsStr::new(extension)));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn charts_and_manifests_are_sorted_and_optional() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("gateway.tar"), "").unwrap();
        let error = Bundle::read(path).unwrap_err().to_string();
        assert!(
            error.contains("supervisor.tar") && error.contains("--bundle"),
            "{error}"
        );
        fs::write(path.join("supervisor.tar"), "").unwrap();
        assert!(Bundle::read(path).unwrap().charts.is_empty());

        fs::create_dir(path.join("charts")).unwrap();
        for name in ["b.tgz", "a.tgz", "README"] {
            fs::write(path.join("charts").join(name), "").unwrap();
        }
        let charts = Bundle::read(path).unwrap().charts;
        let expected = ["a.tgz", "b.tgz"].map(|name| path.join("charts").join(name));
        assert_eq!(charts, expected);
    }
}
