//! `assemble explain`: shows an image's inputs, and which of them have changed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use crateyard_attestation::provenance::{Difference, Resource, Statement, compare};
use crateyard_terminal::{clean, count, print, print_json, table};
use crateyard_workspace::{described, history};
use serde::Serialize;

use crate::image_argument::{ChoiceArgs, Place, PlaceArgs};
use crate::inputs::{listing, short};

const EXAMPLES: &str = "\
Examples:
  assemble explain gateway                      since the last build
  assemble explain gateway --against registry.example/team/gateway:v1
  assemble explain ./new --against ./old --json";

/// Show the inputs of an image, and which of them changed since another one was built
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout by its path, or a registry's reference
    ///
    /// An image of images.toml is built first.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The image to compare with [default: the last build with other inputs]
    #[arg(long, value_name = "IMAGE")]
    against: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    choice: ChoiceArgs,

    #[command(flatten)]
    place: PlaceArgs,
}

/// The command's JSON output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    digest: String,
    platform: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
    provenance: Statement,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Against {
    /// The image to compare with.
    what: String,
    digest: String,
    same_digest: bool,
    /// The names of the layers that only one of the images has.
    layers: Vec<String>,
    differences: Vec<Difference>,
}

/// Runs the command.
///
/// # Errors
/// When an image can't be found, or has no record of its inputs.
pub fn run(args: Args) -> Result<()> {
    let workspace = &args.place.workspace;
    let current = find(&args.image, &args, Place::find_current)?;
    let against = match &args.against {
        Some(other) => {
            let found = find(other, &args, Place::find)?;
            Some((other.clone(), found.statement))
        }
        None if described::names(workspace)?.contains(&args.image) => {
            let name = &args.image;
            let before = history::before(workspace, name, &current.platform, &current.bytes)?;
            let parse = |bytes: Vec<u8>| Statement::parse(&bytes).ok();
            before
                .and_then(parse)
                .map(|found| ("the build before".to_owned(), found))
        }
        None => None,
    };
    let explanation = Explanation {
        digest: digest(&current.statement),
        platform: current.platform.to_string(),
        against: against.map(|(what, before)| contrast(what, &before, &current.statement)),
        provenance: current.statement,
    };
    if args.json {
        return print_json(&explanation);
    }
    print(&describe(&explanation))
}

/// An image's own record of its inputs.
struct Account {
    statement: Statement,
    platform: crateyard_oci::Platform,
    bytes: Vec<u8>,
}

fn find(
    argument: &str,
    args: &Args,
    place: fn(&str, &std::path::Path) -> Result<Place>,
) -> Result<Account> {
    let opened = place(argument, &args.place.workspace)?.open(&args.place.connection)?;
    let selected = opened.select(args.choice.name.as_deref(), args.choice.platform.as_ref())?;
    let Some(bytes) = opened.provenance(&selected)? else {
        bail!(
            "{argument} has no provenance from Crateyard, so its inputs are unknown\n  \
             try: an image that `assemble build` made, or that was pushed with --attest; `assemble \
             diff` compares any two"
        );
    };
    let statement = Statement::parse(&bytes)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("the provenance of {argument}"))?;
    Ok(Account {
        statement,
        platform: selected.config.platform,
        bytes,
    })
}

fn contrast(what: String, before: &Statement, after: &Statement) -> Against {
    let names = |statement: &Statement| -> BTreeMap<String, String> {
        let layers = statement.predicate.run_details.byproducts.iter();
        layers
            .map(|layer| (first_digest(layer), layer.name.clone().unwrap_or_default()))
            .collect()
    };
    let (old, new) = (names(before), names(after));
    let only_new = new.iter().filter(|(digest, _)| !old.contains_key(*digest));
    let only_old = old.iter().filter(|(digest, _)| !new.contains_key(*digest));
    let mut layers: Vec<String> = only_new
        .chain(only_old)
        .map(|(_, name)| name.clone())
        .collect();
    layers.sort();
    layers.dedup();
    Against {
        what,
        digest: digest(before),
        same_digest: digest(before) == digest(after),
        layers,
        differences: compare(before, after),
    }
}

fn digest(statement: &Statement) -> String {
    statement
        .subject
        .first()
        .map(first_digest)
        .unwrap_or_default()
}

fn first_digest(resource: &Resource) -> String {
    let digest = resource.digest.iter().next();
    digest
        .map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
        .unwrap_or_default()
}

fn describe(explanation: &Explanation) -> String {
    let mut text = format!("{}  {}\n", explanation.digest, explanation.platform);
    let Some(against) = &explanation.against else {
        return text + &describe_inputs(&explanation.provenance);
    };
    text += &format!("{}  {}\n", against.digest, clean(&against.what));
    text += &match (against.same_digest, against.differences.is_empty()) {
        (true, true) => "the same image, from the same inputs\n".to_owned(),
        (true, false) => "the same image, from different inputs\n".to_owned(),
        (false, true) => {
            "a different image, and no recorded input differs: the provenance lacks an input, or \
             one of the images was changed afterwards; `assemble diff` shows what differs\n"
                .to_owned()
        }
        (false, false) => format!("other layers: {}\n", listed(&against.layers)),
    };
    text + &listing(&against.differences)
}

fn listed(layers: &[String]) -> String {
    match layers.is_empty() {
        true => "none; only the configuration differs".to_owned(),
        false => layers
            .iter()
            .map(|layer| clean(layer))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Describes the compiler: its release, if the Rust project made it, and the number of its
/// packages.
fn toolchain(resources: &[&Resource]) -> String {
    let uris = || resources.iter().filter_map(|it| it.uri.as_deref());
    let packages = count(
        uris().filter(|uri| uri.starts_with("pkg:deb/")).count(),
        "Debian package",
    );
    let release = uris().find_map(|uri| uri.strip_prefix("pkg:generic/rustc@"));
    let release = release.and_then(|rest| rest.split('?').next());
    match release {
        Some(release) => format!("Rust {}, {packages}", clean(release)),
        None => packages,
    }
}

/// Returns the name of the part that a file belongs to.
fn part_of(file: &Resource) -> Option<&str> {
    let rest = file.name.as_deref()?.strip_prefix("part:")?;
    rest.split('/').next()
}

/// Lists the names of parts, with the number of files of each.
fn parts(files: &[&Resource]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for part in files.iter().filter_map(|file| part_of(file)) {
        *counts.entry(part).or_default() += 1;
    }
    let shown = counts.into_iter();
    let shown = shown.map(|(name, files)| format!("{} ({})", clean(name), count(files, "file")));
    shown.collect::<Vec<_>>().join(", ")
}

/// Describes the inputs, one kind a line.
fn describe_inputs(statement: &Statement) -> String {
    let definition = &statement.predicate.build_definition;
    let asked = &definition.external_parameters.build;
    let crates = &definition.internal_parameters.crates;
    let in_programs = crates.values().filter(|one| one.in_program).count();
    let role = |role: &str| -> Vec<&Resource> {
        let all = definition.resolved_dependencies.iter();
        all.filter(|it| it.annotations.get("role").is_some_and(|own| own == role))
            .collect()
    };
    let digests = |resources: Vec<&Resource>| -> String {
        let shown = resources.into_iter().map(|it| {
            format!(
                "{} {}",
                clean(it.name.as_deref().unwrap_or_default()),
                short(&first_digest(it))
            )
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    let (files_of_parts, sources): (Vec<&Resource>, Vec<&Resource>) = role("source")
        .into_iter()
        .partition(|it| part_of(it).is_some());
    let mut rows = vec![
        vec![
            "profile".to_owned(),
            format!("{} for {}", clean(&asked.profile), clean(&asked.target)),
        ],
        vec!["features".to_owned(), asked.features.join(" ")],
        vec!["source files".to_owned(), sources.len().to_string()],
        vec!["parts".to_owned(), parts(&files_of_parts)],
        vec!["downloads".to_owned(), digests(role("download"))],
        vec!["npm packages".to_owned(), role("npm").len().to_string()],
        vec![
            "crates".to_owned(),
            format!("{} ({in_programs} in programs)", crates.len()),
        ],
        vec!["toolchain".to_owned(), toolchain(&role("toolchain"))],
        vec![
            "native libraries".to_owned(),
            count(role("library").len(), "Debian package"),
        ],
        vec![
            "packages".to_owned(),
            count(role("image").len(), "Debian package"),
        ],
        vec!["base".to_owned(), digests(role("base"))],
        vec!["images in it".to_owned(), digests(role("nested-image"))],
    ];
    rows.retain(|row| !row[1].is_empty() && row[1] != "0" && !row[1].starts_with("0 "));
    table(&rows, "", &[])
        + "nothing to compare with: name an image with --against, or run this again after the next \
           build; --json prints everything\n"
}
