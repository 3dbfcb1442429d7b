//! Helm charts of a workspace, and the images that they go into.

use std::fs;
use std::path::Path;

use crate::image::Image;
use crate::tree::{self, Kind};

/// How far below the workspace's root they are looked for.
const DEPTH: usize = 4;

/// A chart.
pub struct Chart {
    /// Its directory, relative to the workspace.
    directory: String,
    /// What its `Chart.yaml` calls it.
    name: String,
}

/// Directories with a `Chart.yaml`. A chart in another one is part of that.
pub fn below(root: &Path) -> Vec<Chart> {
    below_directory(root, root, DEPTH)
}

fn below_directory(root: &Path, directory: &Path, depth: usize) -> Vec<Chart> {
    if let Ok(text) = fs::read_to_string(directory.join("Chart.yaml")) {
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

/// Gives each chart to the image of its name; the only image gets them all.
pub fn assign(images: &mut [Image<'_>], charts: Vec<Chart>, reasons: &mut Vec<String>) {
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
            None => format!(
                "no image has the chart in {directory}: add it to `charts` of the one that shall"
            ),
        });
    }
}
