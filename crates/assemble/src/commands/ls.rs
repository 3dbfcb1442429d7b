//! `assemble ls`: lists the files of an image.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use crateyard_image::files::{File, FileKind, Listing, Options};
use crateyard_image::packages;
use crateyard_spec::CAPABILITY_ATTRIBUTE;
use crateyard_terminal::{clean, print_json, print_table, warning};
use serde::{Serialize, Serializer};

use crate::image_argument::{ChoiceArgs, Place, PlaceArgs};

const EXAMPLES: &str = "\
Examples:
  assemble ls gateway /usr/bin
  assemble ls gateway --recursive --layer 0
  assemble ls image.tar /etc --recursive --digests --json";

/// List the files of an image, all layers together
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's
    /// reference
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The directory or file to show
    #[arg(value_name = "PATH", default_value = "/")]
    path: String,

    /// Also show the content of subdirectories
    #[arg(long, short = 'R')]
    recursive: bool,

    /// Show only files from this layer, counted from 0, the lowest
    #[arg(long, value_name = "N")]
    layer: Option<usize>,

    /// Show the digest of each regular file's content
    #[arg(long)]
    digests: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    choice: ChoiceArgs,

    #[command(flatten)]
    place: PlaceArgs,
}

/// The output for one file.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "absolute")]
    path: &'a str,
    #[serde(flatten)]
    file: &'a File,
    /// The capabilities as getcap(8) prints them. They are in `xattrs` too.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<String>,
    package: Option<&'a str>,
}

/// Adds the leading slash, which paths in listings do not have.
fn absolute<S: Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("/{path}"))
}

/// Runs the command.
///
/// # Errors
/// When the image can't be read or has no such file.
pub fn run(args: Args) -> Result<()> {
    let opened = Place::find(&args.image, &args.place.workspace)?.open(&args.place.connection)?;
    let selected = opened.select(args.choice.name.as_deref(), args.choice.platform.as_ref())?;
    let layers = selected.manifest.layers.len();
    if let Some(number) = args.layer.filter(|number| *number >= layers) {
        bail!("--layer {number}: the image has {layers} layers, counted from 0");
    }
    let options = Options {
        hash: args.digests,
        ..Options::default()
    };
    let listing = Listing::read(opened.blobs(), &selected.manifest, &options);
    let listing = opened.checked(listing)?;
    for problem in listing.problems() {
        warning!("{}", clean(problem));
    }
    let owners = packages::owners(&listing);
    let lines = lines(&args, &listing, &owners)?;
    if args.json {
        return print_json(&lines);
    }
    print_table(lines.iter().map(|line| row(line, args.digests)), &[2])
}

fn lines<'a>(
    args: &Args,
    listing: &'a Listing,
    owners: &'a BTreeMap<String, String>,
) -> Result<Vec<Line<'a>>> {
    let is_root = args.path.split('/').all(|part| matches!(part, "" | "."));
    let mut top = "";
    if !is_root {
        let (path, file) = listing.resolve(&args.path)?;
        // The layers may have no entry for a path that only leads to directories.
        if file.kind != FileKind::Directory {
            return Ok(vec![line(path, file, owners)]);
        }
        top = path;
    }
    let is_shown = |path: &str, file: &File| {
        let below = match top {
            "" => Some(path),
            _ => path
                .strip_prefix(top)
                .and_then(|rest| rest.strip_prefix('/')),
        };
        let in_reach =
            below.is_some_and(|rest| !rest.is_empty() && (args.recursive || !rest.contains('/')));
        in_reach && args.layer.is_none_or(|number| file.layer == number)
    };
    let shown = listing.files().filter(|(path, file)| is_shown(path, file));
    Ok(shown.map(|(path, file)| line(path, file, owners)).collect())
}

fn line<'a>(path: &'a str, file: &'a File, owners: &'a BTreeMap<String, String>) -> Line<'a> {
    Line {
        path,
        file,
        capabilities: file.capabilities().map(|it| it.to_string()),
        package: owners.get(path).map(String::as_str),
    }
}

fn row(line: &Line<'_>, with_digest: bool) -> Vec<String> {
    let file = line.file;
    let mut path = format!("/{}", clean(line.path));
    if let Some(target) = &file.target {
        // Targets of hard links are paths in the image, without a leading slash.
        let (arrow, slash) = match file.kind {
            FileKind::HardLink => ("=", "/"),
            _ => ("->", ""),
        };
        path += &format!(" {arrow} {slash}{}", clean(target));
    }
    path += &attributes(line);
    let mut row = vec![
        file.long_mode(),
        format!("{}:{}", file.uid, file.gid),
        file.size.to_string(),
        line.package.map(clean).unwrap_or_default().into_owned(),
    ];
    if with_digest {
        row.push(
            file.digest
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
    }
    row.push(path);
    row
}

/// Formats capabilities, and the names of other extended attributes:
/// ` [cap_net_bind_service=ep, user.note]`.
fn attributes(line: &Line<'_>) -> String {
    let is_shown = |name: &&String| line.capabilities.is_none() || *name != CAPABILITY_ATTRIBUTE;
    let names = line.file.xattrs.keys().filter(is_shown);
    let names = names.map(|name| clean(name).into_owned());
    let all: Vec<String> = line.capabilities.iter().cloned().chain(names).collect();
    match all.is_empty() {
        true => String::new(),
        false => format!(" [{}]", all.join(", ")),
    }
}
