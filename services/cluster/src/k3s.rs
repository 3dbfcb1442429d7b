//! A node with k3s: puts the bundle where k3s looks for it at its start, and becomes k3s.
//!
//! <https://docs.k3s.io/installation/airgap>,
//! <https://docs.k3s.io/installation/packaged-components>

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tracing::info;

use crate::bundle::Bundle;
use crate::files::place;
use crate::options::NodeOptions;

/// The path of k3s in its images, which their PATH may not include.
const USUAL_PATH: &str = "/bin/k3s";

/// Finds the k3s executable of this image, if it has one.
///
/// # Errors
/// When the options name an executable that does not exist.
pub(crate) fn find(options: &NodeOptions) -> anyhow::Result<Option<PathBuf>> {
    if let Some(named) = &options.k3s {
        ensure!(
            is_executable(named),
            "--k3s {}: there is no such executable",
            named.display()
        );
        return Ok(Some(named.clone()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join("k3s"));
    let mut candidates = in_path.chain([PathBuf::from(USUAL_PATH)]);
    Ok(candidates.find(|candidate| is_executable(candidate)))
}

/// Places the bundle and becomes `k3s server`.
///
/// # Errors
/// When the data directory can't be written or k3s can't be executed. Otherwise it does not return.
pub(crate) fn start(k3s: &Path, options: &NodeOptions, bundle: &Bundle) -> anyhow::Result<()> {
    let data_dir = options.k3s_data_dir();
    let images = data_dir.join("agent/images");
    place(&bundle.gateway, &images)?;
    place(&bundle.supervisor, &images)?;
    for chart in &bundle.charts {
        place(chart, &data_dir.join("server/static/charts"))?;
    }
    for manifest in &bundle.manifests {
        place(manifest, &data_dir.join("server/manifests"))?;
    }
    info!(k3s = %k3s.display(), data_dir = %data_dir.display(), "bundle placed, k3s takes over");
    let error = Command::new(k3s)
        .args(["server", "--data-dir"])
        .arg(&data_dir)
        .args(&options.k3s_arguments)
        .exec();
    Err(error).with_context(|| format!("can't run {}", k3s.display()))
}

fn is_executable(path: &Path) -> bool {
    let found = path.metadata();
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
