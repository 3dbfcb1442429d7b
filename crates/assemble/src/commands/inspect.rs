//! `assemble inspect`: shows an image's configuration, layers, packages and crates.

mod documents;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use crateyard_image::files::{Listing, Options};
use crateyard_image::packages::{self, Crate, DebianPackage};
use crateyard_oci::{Descriptor, ImageConfig};
use crateyard_terminal::{clean, count, print, print_json, table};
use documents::Documents;
use serde::Serialize;

use crate::connection::bytes;
use crate::image_argument::{ChoiceArgs, Opened, Place, PlaceArgs, Selected};

const EXAMPLES: &str = "\
Examples:
  assemble inspect gateway
  assemble inspect ./layout --packages
  assemble inspect gateway.tar --documents
  assemble inspect registry.example/gateway:v1 --platform linux/arm64 --json";

/// Show the configuration and layers of an image, and the packages in it
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's
    /// reference
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Also read the layers, and list Debian packages and crates
    #[arg(long)]
    packages: bool,

    /// Show the bill of materials and the provenance in full
    #[arg(long)]
    documents: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    choice: ChoiceArgs,

    #[command(flatten)]
    place: PlaceArgs,
}

/// The output for one image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    names: Vec<String>,
    digest: String,
    media_type: String,
    platform: String,
    /// Bytes of manifest, configuration and compressed layers.
    size: u64,
    layers: Vec<Layer>,
    config: ImageConfig,
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<Contents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<Documents>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    digest: String,
    diff_id: Option<String>,
    media_type: String,
    size: u64,
    comment: Option<String>,
}

/// The content of the layers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Contents {
    files: usize,
    /// Bytes of all regular files.
    file_bytes: u64,
    packages: Vec<Package>,
    crates: Vec<Crate>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Package {
    #[serde(flatten)]
    package: DebianPackage,
    /// Bytes of the package's files, if the image lists them.
    #[serde(rename = "fileBytes")]
    file_bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// When the image can't be found or read.
pub fn run(args: Args) -> Result<()> {
    let opened = Place::find(&args.image, &args.place.workspace)?.open(&args.place.connection)?;
    let mut summaries = Vec::new();
    for selected in wanted(&opened, &args.choice)? {
        summaries.push(summary(&opened, selected, &args)?);
    }
    if args.json {
        return print_json(&summaries);
    }
    let texts: Vec<String> = summaries
        .iter()
        .map(|summary| describe(summary, args.documents))
        .collect();
    print(&texts.join("\n"))
}

/// Returns the images that the options choose. Without options, returns all of them.
fn wanted(opened: &Opened, choice: &ChoiceArgs) -> Result<Vec<Selected>> {
    if choice.name.is_some() || choice.platform.is_some() {
        let selected = opened.select(choice.name.as_deref(), choice.platform.as_ref())?;
        return Ok(vec![selected]);
    }
    opened.select_all()
}

fn summary(opened: &Opened, selected: Selected, args: &Args) -> Result<Summary> {
    // For an image in a registry, this would need a request for each image.
    let documents = match args.documents || matches!(opened, Opened::Layout(_)) {
        true => Some(Documents::read(opened, &selected)?),
        false => None,
    };
    let contents = match args.packages {
        false => None,
        true => {
            let options = Options {
                crates: true,
                ..Options::default()
            };
            let listing = Listing::read(opened.blobs(), &selected.manifest, &options);
            let stated = opened.crates(&selected)?;
            Some(contents(&opened.checked(listing)?, &stated)?)
        }
    };
    let Selected {
        image,
        manifest,
        config,
    } = selected;
    let layer_size: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    Ok(Summary {
        names: image.names,
        digest: image.descriptor.digest.to_string(),
        media_type: image.descriptor.media_type,
        platform: config.platform.to_string(),
        size: image.descriptor.size + manifest.config.size + layer_size,
        layers: layers(&manifest.layers, &config),
        config,
        annotations: manifest.annotations,
        contents,
        documents,
    })
}

fn layers(descriptors: &[Descriptor], config: &ImageConfig) -> Vec<Layer> {
    let steps = config.history.iter();
    let comments: Vec<Option<String>> = steps
        .filter(|step| step.empty_layer != Some(true))
        .map(|step| step.comment.clone().or_else(|| step.created_by.clone()))
        .collect();
    let describe = |(number, layer): (usize, &Descriptor)| Layer {
        digest: layer.digest.to_string(),
        diff_id: config.rootfs.diff_ids.get(number).map(ToString::to_string),
        media_type: layer.media_type.clone(),
        size: layer.size,
        comment: comments.get(number).cloned().flatten(),
    };
    descriptors.iter().enumerate().map(describe).collect()
}

fn contents(listing: &Listing, stated: &BTreeMap<String, Vec<Crate>>) -> Result<Contents> {
    let owners = packages::owners(listing);
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut files, mut file_bytes) = (0, 0);
    for (path, file) in listing.files() {
        files += 1;
        if file.kind != crateyard_image::files::FileKind::File {
            continue;
        }
        file_bytes += file.size;
        if let Some(package) = owners.get(path) {
            *sizes.entry(package).or_default() += file.size;
        }
    }
    let size_of = |package: DebianPackage| Package {
        file_bytes: sizes.get(package.name.as_str()).copied().unwrap_or(0),
        package,
    };
    let packages = packages::installed(listing)?.into_iter().map(size_of);
    let crates = packages::crates(listing, stated);
    let crates: BTreeSet<&Crate> = crates.values().copied().flatten().collect();
    Ok(Contents {
        files,
        file_bytes,
        packages: packages.collect(),
        crates: crates.into_iter().cloned().collect(),
        problems: listing.problems().to_vec(),
    })
}

fn describe(summary: &Summary, with_documents: bool) -> String {
    let mut rows = Vec::new();
    let mut say = |name: &str, values: Vec<String>| {
        for (number, value) in values.iter().filter(|value| !value.is_empty()).enumerate() {
            let name = if number == 0 { name } else { "" };
            rows.push(vec![name.to_owned(), clean(value).into_owned()]);
        }
    };
    let size = bytes(summary.size);
    let layer_count = count(summary.layers.len(), "layer");
    say("name", summary.names.clone());
    say("digest", vec![summary.digest.clone()]);
    say("platform", vec![summary.platform.clone()]);
    say("created", summary.config.created.iter().cloned().collect());
    say("size", vec![format!("{size} in {layer_count}")]);
    let config = summary.config.config.clone().unwrap_or_default();
    let keys = |map: Option<BTreeMap<String, _>>| map.unwrap_or_default().into_keys().collect();
    let pairs = |map: BTreeMap<String, String>| {
        let pairs = map.into_iter();
        pairs.map(|(key, value)| format!("{key}={value}")).collect()
    };
    say("user", config.user.into_iter().collect());
    say("directory", config.working_dir.into_iter().collect());
    say("entrypoint", words(config.entrypoint));
    say("command", words(config.cmd));
    say("environment", config.env.unwrap_or_default());
    say("ports", keys(config.exposed_ports));
    say("volumes", keys(config.volumes));
    say("stop signal", config.stop_signal.into_iter().collect());
    let health = config.healthcheck.and_then(|check| check.test);
    say("health check", words(health));
    say("labels", pairs(config.labels.unwrap_or_default()));
    say("annotations", pairs(summary.annotations.clone()));
    let documents = summary.documents.as_ref();
    say(
        "documents",
        documents.map(Documents::summary).unwrap_or_default(),
    );
    let mut text = table(&rows, "", &[]);
    text += "layers\n";
    text += &table(&layer_rows(&summary.layers), "  ", &[0, 2]);
    if let Some(contents) = &summary.contents {
        text += &describe_contents(contents);
    }
    if let Some(documents) = documents.filter(|_| with_documents) {
        text += &documents.describe();
    }
    text
}

/// Formats a command as one line, quoted for a shell.
fn words(command: Option<Vec<String>>) -> Vec<String> {
    let quote = |word: &String| match word.is_empty() || word.contains([' ', '"', '\'', '\\']) {
        true => format!("{word:?}"),
        false => word.clone(),
    };
    let words: Vec<String> = command.iter().flatten().map(quote).collect();
    vec![words.join(" ")]
}

fn layer_rows(layers: &[Layer]) -> Vec<Vec<String>> {
    let row = |(number, layer): (usize, &Layer)| {
        vec![
            number.to_string(),
            layer.digest.clone(),
            bytes(layer.size),
            clean(layer.comment.as_deref().unwrap_or_default()).into_owned(),
        ]
    };
    layers.iter().enumerate().map(row).collect()
}

fn describe_contents(contents: &Contents) -> String {
    let files = count(contents.files, "file");
    let mut text = format!("contents  {files}, {}\n", bytes(contents.file_bytes));
    text += &count(contents.packages.len(), "Debian package");
    text.push('\n');
    let row = |one: &Package| {
        let DebianPackage {
            name,
            version,
            arch,
        } = &one.package;
        let cells = [name, version, arch];
        let mut row: Vec<String> = cells.map(|cell| clean(cell).into_owned()).to_vec();
        row.push(bytes(one.file_bytes));
        row
    };
    let rows: Vec<Vec<String>> = contents.packages.iter().map(row).collect();
    text += &table(&rows, "  ", &[3]);
    text += &count(contents.crates.len(), "crate");
    text.push('\n');
    let row = |one: &Crate| [&one.name, &one.version].map(|cell| clean(cell).into_owned());
    let rows: Vec<Vec<String>> = contents
        .crates
        .iter()
        .map(|one| row(one).to_vec())
        .collect();
    text += &table(&rows, "  ", &[]);
    for problem in &contents.problems {
        text += &format!("warning: {}\n", clean(problem));
    }
    text
}
