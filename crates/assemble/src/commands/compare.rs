//! `assemble compare`: builds the same images in two ways, and shows the differences.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use crateyard_build::image_build::{Way, drive};
use crateyard_description::normal::Image;
use crateyard_engines::{Engine, Request, buildx, cargo, resolve};
use crateyard_flake::Nix;
use crateyard_image::auditable::is_same_program;
use crateyard_image::diff::{FileChange, ImageDiff, Side, compare};
use crateyard_image::files::{Listing, Options};
use crateyard_image::packages::Crate;
use crateyard_oci::{ImageConfig, Layout, Manifest};
use crateyard_terminal::{clean, count, print, print_json, table};
use crateyard_workspace::described::names as described;
use flate2::read::GzDecoder;
use serde::Serialize;

use self::sections::Section;
use crate::changes::describe;
use crate::connection::bytes;

mod sections;

const EXAMPLES: &str = "\
Examples:
  assemble compare
  assemble compare gateway --engines nix,cargo --exit-code

Exit codes: 0, or with --exit-code 1 if a program, another file or the configuration differs; 1 \
for errors.";

/// Build images in two ways and show the differences: configuration, layers, files, and sections of
/// programs
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images to build [default: all images in images.toml]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,

    /// The two engines
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "ENGINE,ENGINE",
        default_values = ["nix", "buildx"]
    )]
    engines: Vec<Engine>,

    /// The workspace
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,

    /// The lock of the Debian packages, for engines other than nix [default: debian.lock in the
    /// workspace]
    #[arg(long, value_name = "FILE")]
    debian_lock: Option<PathBuf>,

    /// Exit with 1 if the contents differ
    #[arg(long)]
    exit_code: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The comparison of one image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    name: String,
    /// The images, one for each engine.
    images: Vec<Made>,
    /// The path of each program of the workspace, with whether both engines made the same bytes.
    programs: BTreeMap<String, bool>,
    difference: ImageDiff,
    /// The path of each executable that differs, with its differing sections.
    sections: BTreeMap<String, Vec<Section>>,
    /// The paths of compressed files that have the same content.
    equal_unpacked: Vec<String>,
}

/// The image of one engine.
#[derive(Serialize)]
struct Made {
    engine: Engine,
    digest: String,
    /// Bytes of the compressed layers.
    size: u64,
    layers: usize,
}

/// Runs the command.
///
/// # Errors
/// When an image can't be built or read.
pub fn run(args: Args) -> Result<ExitCode> {
    let [one, other] = args.engines[..] else {
        bail!("--engines takes two, such as nix,buildx");
    };
    let names = match args.images.is_empty() {
        true => described(&args.workspace)?,
        false => args.images.clone(),
    };
    let request = Request {
        workspace: &args.workspace,
        debian_lock: args.debian_lock.as_deref(),
        images: &names,
        vendor: None,
    };
    let resolved = resolve(&args.workspace)?;
    let before = build(one, &request)?;
    let after = build(other, &request)?;
    let mut found = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let image = resolved.description.images.get(name);
        let image = image.with_context(|| format!("images.toml describes no image {name:?}"))?;
        let sides = [
            Opened::open(one, &before[number])?,
            Opened::open(other, &after[number])?,
        ];
        found.push(look(image, &sides)?);
    }
    if args.json {
        print_json(&found)?;
    } else {
        let text: Vec<String> = found.iter().map(Compared::describe).collect();
        print(&text.join("\n"))?;
    }
    let is_same = found.iter().all(Compared::is_same);
    Ok(match args.exit_code && !is_same {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Builds images by an engine, and returns their paths.
fn build(engine: Engine, request: &Request<'_>) -> Result<Vec<PathBuf>> {
    match engine {
        Engine::Nix => drive(
            request.workspace,
            request.images,
            &Nix::default(),
            &Way::default(),
        ),
        Engine::Buildx => Ok(buildx::build(request, buildx::Output::Shown)?.paths),
        Engine::Cargo => Ok(cargo::build(request)?.paths),
    }
}

/// An image with its documents.
struct Opened {
    layout: Layout,
    manifest: Manifest,
    config: ImageConfig,
    made: Made,
}

/// No crates, because only one of the engines knows them. A difference in crates shows in the
/// program.
static NO_CRATES: BTreeMap<String, Vec<Crate>> = BTreeMap::new();

impl Opened {
    fn open(engine: Engine, path: &Path) -> Result<Opened> {
        let layout = Layout::open(path)?;
        let image = layout.image(None, None)?;
        let manifest = layout.manifest(&image.descriptor)?;
        Ok(Opened {
            config: layout.config(&manifest)?,
            made: Made {
                engine,
                digest: image.descriptor.digest.to_string(),
                size: manifest.layers.iter().map(|layer| layer.size).sum(),
                layers: manifest.layers.len(),
            },
            manifest,
            layout,
        })
    }

    fn side(&self) -> Side<'_> {
        Side {
            blobs: &self.layout,
            manifest: &self.manifest,
            config: &self.config,
            crates: &NO_CRATES,
        }
    }

    fn content(&self, listing: &Listing, path: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        listing.copy_content(&self.layout, &self.manifest, path, &mut content)?;
        Ok(content)
    }
}

fn look(image: &Image, [one, other]: &[Opened; 2]) -> Result<Compared> {
    let difference = compare(one.side(), other.side())?;
    let differs = |path: &str| difference.files.iter().any(|file| file.path == path);
    let paths = image.programs().map(|(path, _)| path);
    let programs = paths
        .map(|path| (path.to_owned(), !differs(path.trim_start_matches('/'))))
        .collect();
    let mut compared = Compared {
        name: image.name.clone(),
        images: [one, other].map(|side| side.made.again()).into(),
        programs,
        sections: BTreeMap::new(),
        equal_unpacked: Vec::new(),
        difference: ImageDiff::default(),
    };
    let read = |side: &Opened| Listing::read(&side.layout, &side.manifest, &Options::default());
    let listings = [read(one)?, read(other)?];
    for file in difference.files.iter().filter(|file| is_rewritten(file)) {
        let before = one.content(&listings[0], &file.path)?;
        let after = other.content(&listings[1], &file.path)?;
        if let Some(equal) = compared.programs.get_mut(&format!("/{}", file.path)) {
            *equal = is_same_program(&before, &after);
        }
        if let Some(sections) = sections::differing(&before, &after) {
            compared.sections.insert(file.path.clone(), sections);
        } else if file.differs == ["content"]
            && unpacked(&before).is_some_and(|content| Some(content) == unpacked(&after))
        {
            compared.equal_unpacked.push(file.path.clone());
        }
    }
    compared.difference = difference;
    Ok(compared)
}

fn is_rewritten(file: &FileChange) -> bool {
    file.before.is_some() && file.after.is_some() && file.differs.contains(&"content")
}

/// The largest unpacked content that is compared, in bytes. Two of them are in memory at once.
const MAX_UNPACKED: u64 = 256 << 20;

/// Unpacks a gzip file, without the empty blocks at the end of a tar, whose number may vary.
/// Returns `None` if it is another file, or too large.
fn unpacked(content: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    let mut reader = GzDecoder::new(content).take(MAX_UNPACKED + 1);
    reader.read_to_end(&mut unpacked).ok()?;
    if unpacked.len() as u64 > MAX_UNPACKED {
        return None;
    }
    let end = unpacked.iter().rposition(|byte| *byte != 0);
    unpacked.truncate(end.map_or(0, |end| end + 1));
    Some(unpacked)
}

impl Made {
    fn again(&self) -> Made {
        Made {
            digest: self.digest.clone(),
            ..*self
        }
    }
}

impl Compared {
    /// Whether both have the same content, even if it is packed differently.
    fn is_same(&self) -> bool {
        let is_packed_otherwise = |file: &FileChange| self.equal_unpacked.contains(&file.path);
        self.difference.config.is_empty() && self.difference.files.iter().all(is_packed_otherwise)
    }

    fn describe(&self) -> String {
        let row = |made: &Made| {
            vec![
                made.engine.name().to_owned(),
                made.digest.clone(),
                bytes(made.size),
                count(made.layers, "layer"),
            ]
        };
        let rows: Vec<Vec<String>> = self.images.iter().map(row).collect();
        let mut text = format!("{}\n{}", self.name, table(&rows, "  ", &[2]));
        let equal = self.programs.values().filter(|equal| **equal).count();
        text += &match self.programs.len() {
            0 => String::new(),
            all if all == equal => format!("  programs: {all} of {all} have the same bytes\n"),
            all => format!("  programs: {equal} of {all} have the same bytes\n"),
        };
        let is_same_digest = self.images[0].digest == self.images[1].digest;
        for line in describe(&self.difference, is_same_digest).lines() {
            text += &format!("  {line}\n");
        }
        for (path, sections) in &self.sections {
            let names: Vec<String> = sections.iter().map(show_section).collect();
            text += &format!("  /{} differs in {}\n", clean(path), names.join(", "));
        }
        for path in &self.equal_unpacked {
            text += &format!(
                "  /{} is compressed differently, but has the same content\n",
                clean(path)
            );
        }
        text
    }
}

fn show_section(section: &Section) -> String {
    let name = clean(&section.name);
    match (section.before, section.after) {
        (Some(before), Some(after)) if before != after => format!("{name} ({before} -> {after})"),
        (Some(_), Some(_)) => name.into_owned(),
        (Some(_), None) => format!("{name} (only the first)"),
        (None, _) => format!("{name} (only the second)"),
    }
}
