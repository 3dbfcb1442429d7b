//! Files that tools leave in a build script's directory. Nobody reads them afterwards, and they
//! differ from build to build.

use crate::files;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Files of Autoconf, CMake and Ninja by name.
///
/// - Autoconf's log has the kernel's release, and random names of the compiler's temporary files.
/// - CMake's logs have random names of probes. CMake's file about the system has the kernel's
///   release. <https://cmake.org/cmake/help/latest/manual/cmake-configure-log.7.html>
/// - Ninja's files have times. <https://ninja-build.org/manual.html#ref_log>
const NAMES: [&str; 7] = [
    "config.log",
    "CMakeError.log",
    "CMakeOutput.log",
    "CMakeConfigureLog.yaml",
    "CMakeSystem.cmake",
    ".ninja_deps",
    ".ninja_log",
];

/// Removes all such files below a directory.
///
/// # Errors
/// When a directory can't be listed or a file can't be removed.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    for name in files::names(directory)? {
        let path = directory.join(&name);
        let kind = fs::symlink_metadata(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() {
            remove(&path)?;
        } else if name.to_str().is_some_and(is_leftover) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn is_leftover(name: &str) -> bool {
    NAMES.contains(&name) || is_probe(name)
}

/// Whether a file is a probe of autocfg's: `autocfg_HASH_NUMBER.ll`. Since 1.2 the hash is random.
fn is_probe(name: &str) -> bool {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let parts = stem
        .strip_prefix("autocfg_")
        .and_then(|rest| rest.split_once('_'));
    parts.is_some_and(|(hash, number)| {
        hash.len() == 16
            && hash.chars().all(|c| c.is_ascii_hexdigit())
            && !number.is_empty()
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_leave_behind_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let build = directory.path().join("build");
        fs::create_dir(&build).unwrap();
        let kept = ["autocfg_notes.txt", "autocfg_0dcb653fd8455e9d", "made.rs"];
        let dropped = [
            "autocfg_0dcb653fd8455e9d_0.ll",
            "autocfg_1781948f0b050d65_12",
            "config.log",
        ];
        for place in [directory.path(), &build] {
            for name in kept.iter().chain(&dropped) {
                fs::write(place.join(name), "").unwrap();
            }
        }
        remove(directory.path()).unwrap();
        let mut kept = kept.to_vec();
        kept.sort_unstable();
        assert_eq!(files::names(&build).unwrap(), kept);
        kept.push("build");
        kept.sort_unstable();
        assert_eq!(files::names(directory.path()).unwrap(), kept);
    }
}
