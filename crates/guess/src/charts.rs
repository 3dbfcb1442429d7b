//! Finds the Helm charts of a workspace and assigns them to images.

use std::path::Path;

use crate::image::Image;
use crate::tree::{self, Kind};

/// A chart.
pub(crate) struct Chart {
    /// Its directory, relative to the workspace.
    directory: String,
    /// The name in its `Chart.yaml`.
    name: String,
}

/// Finds directories with a `Chart.yaml`. A chart inside another one is part of it.
pub(crate) fn below(root: &Path) -> Vec<Chart> {
    below_directory(root, root, tree::MAX_DEPTH)
}

fn below_directory(root: &Path, directory: &Path, depth: usize) -> Vec<Chart> {
    if let Some(text) = tree::text(&directory.join("Chart.yaml")) {
        return vec![Chart {
            directory: tree::relative(directory, root),
            name: name_in(&text),
        }];
    }
    if depth == 0 {
        return Vec::new();
    }
    let entries = tree::entries(directory).into_iter();
    let directories = entries.filter(|entry| entry.kind == Kind::Directory);
    let own = directories.filter(|entry| !tree::is_foreign(&entry.path));
    own.flat_map(|entry| below_directory(root, &entry.path, depth - 1))
        .collect()
}

fn name_in(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("name:"));
    let name = name.unwrap_or_default().trim();
    name.trim_matches(['"', '\'']).to_owned()
}

/// Assigns each chart to the image of its name. If there is only one image, it gets all charts.
pub(crate) fn assign(images: &mut [Image<'_>], charts: Vec<Chart>, reasons: &mut Vec<String>) {
    let is_only = images.len() == 1;
    for Chart { directory, name } in charts {
        let image = images.iter_mut().find(|image| {
            let names = [image.name.as_str(), image.bin, image.package.name.as_str()];
            is_only || names.contains(&name.as_str())
        });
        reasons.push(match image {
            Some(image) => {
                let reason = format!("image {}: the chart in {directory}", image.name);
                image.charts.push(directory);
                reason
            }
            None => {
                format!("no image has the chart in {directory}: add it to `charts` of an image")
            }
        });
    }
}
