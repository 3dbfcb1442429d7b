//! `assemble report`: writes a report on the last build as one HTML file.

use anyhow::{Context, Result};
use crateyard_drive::build_record::{self, BuildRecord};
use crateyard_flake::driven;
use crateyard_nix::Store;
use crateyard_oci::Layout;
use crateyard_report::page::{self, Image, Layer};
use crateyard_terminal::{note, print_line, write_to};
use crateyard_workspace::{root, state::State};
use std::path::{Path, PathBuf};

/// Write a report on the last build as one HTML file: timeline, critical path, reasons, layers
#[derive(clap::Args)]
pub struct Args {
    /// The file; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// The workspace: a directory with flake.nix and images.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// The store of the build, if it is not the machine's own
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Write the record of the build as JSON instead
    #[arg(long)]
    json: bool,
}

/// Writes the report.
///
/// # Errors
/// When there is no build yet, or the file can't be written.
pub fn run(args: Args) -> Result<()> {
    let state = State::find(&args.workspace)?;
    let record: Option<BuildRecord> = match state {
        Some(state) => driven::record(&state)?,
        None => None,
    };
    let record = record.with_context(|| no_record(&args.workspace))?;
    if args.json {
        return crateyard_terminal::print_json(&record);
    }
    let mut images = Vec::new();
    for image in &record.images {
        images.extend(layers(image, args.store.as_deref())?);
    }
    write_to(&args.out, &page::of_build(&record, &images))?;
    match args.out.as_os_str() == "-" {
        true => Ok(()),
        false => print_line(format!("wrote {}", args.out.display())),
    }
}

fn no_record(workspace: &Path) -> String {
    let cure = match root::above(workspace) {
        Some(_) => root::hint(workspace, "assemble init"),
        None => "to make one: assemble build".to_owned(),
    };
    format!(
        "no build has left a record in {}; {cure}",
        workspace.display()
    )
}

/// Returns the layers of an image, by platform. A deleted image has none.
fn layers(image: &build_record::Image, store: Option<&str>) -> Result<Vec<Image>> {
    let place = Store::new(store.map(str::to_owned)).physical(&image.path);
    let Ok(layout) = Layout::open(&place) else {
        note!("{} is no longer there", place.display());
        return Ok(Vec::new());
    };
    let platforms = layout.images()?.into_iter();
    let containers = platforms.filter(|platform| !platform.is_attestation());
    containers
        .map(|platform| {
            let manifest = layout.manifest(&platform.descriptor)?;
            let config = layout.config(&manifest)?;
            // The history also has entries without a layer, such as ENV.
            let said = config
                .history
                .iter()
                .filter(|entry| entry.empty_layer != Some(true));
            let mut names = said.map(|entry| entry.comment.clone().unwrap_or_default());
            let layers = manifest
                .layers
                .iter()
                .enumerate()
                .map(|(index, layer)| Layer {
                    name: names
                        .next()
                        .filter(|name| !name.is_empty())
                        .unwrap_or_else(|| format!("layer {}", index + 1)),
                    digest: layer.digest.to_string(),
                    bytes: layer.size,
                });
            Ok(Image {
                name: image.name.clone(),
                platform: config.platform.to_string(),
                layers: layers.collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_directory_is_told_from_a_workspace_without_a_build() {
        let workspace = tempfile::tempdir().unwrap();
        let member = workspace.path().join("api");
        std::fs::create_dir(&member).unwrap();
        std::fs::write(workspace.path().join("images.toml"), "version = 1\n").unwrap();
        assert!(no_record(workspace.path()).ends_with("to make one: assemble build"));
        let root = workspace.path().display();
        assert!(no_record(&member).ends_with(&format!("try: --workspace {root}")));
    }
}
