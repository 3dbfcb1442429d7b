//! `assemble lock`: resolves the sets of Debian packages that `images.toml` names into `debian.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use debian::apt::{self, IndexOptions, Mirrors};
use debian::lock::{Lock, Suite};
use debian::release::DEBIAN_KEYRING;
use debian::resolve::{SetRequest, Universe};
use serde::Deserialize;

/// The archive publishes the files before and the snapshot archive holds them some time after the date that the
/// release file carries.
const HOURS_TO_SNAPSHOT: i64 = 24;

/// Resolves the sets of Debian packages in images.toml and pins them in debian.lock
#[derive(clap::Args)]
pub struct Args {
    /// The description of the images
    #[arg(long, value_name = "FILE", default_value = "images.toml")]
    images: PathBuf,
    /// The lock to write
    #[arg(long, value_name = "FILE", default_value = "debian.lock")]
    lock: PathBuf,
    /// Write nothing; fail if the lock is not what would be written
    #[arg(long)]
    check: bool,
    /// Keys that may sign the archive's indexes
    #[arg(long, value_name = "FILE", default_value = DEBIAN_KEYRING)]
    keyring: PathBuf,
    /// Where to download an archive from, instead of where the machine's apt does
    #[arg(long, value_name = "ARCHIVE=URL", value_parser = parse_mirror)]
    mirror: Vec<(String, String)>,
    /// Accept indexes whose time has run out
    #[arg(long)]
    allow_stale: bool,
}

/// Reads the value of `--mirror`.
pub fn parse_mirror(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((archive, url)) if !archive.is_empty() && url.contains(':') => {
            Ok((archive.to_owned(), url.to_owned()))
        }
        _ => Err("expected ARCHIVE=URL, such as debian=http://mirror.example/debian".to_owned()),
    }
}

/// What this command reads of `images.toml`.
#[derive(Deserialize, Default)]
struct Images {
    #[serde(default)]
    debian: Debian,
    #[serde(default)]
    images: BTreeMap<String, Image>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Debian {
    suites: Option<Vec<String>>,
    architectures: Option<Vec<String>>,
    #[serde(default)]
    sets: BTreeMap<String, Set>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Set {
    packages: Vec<String>,
    #[serde(default)]
    omit: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Image {
    #[serde(default)]
    packages: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let images = read_images(&args.images)?;
    let suites = suites(&images.debian);
    let requests = requests(&images)?;
    let lock = resolve(&args, &suites, &requests)?;
    let text = lock.to_text();
    let old = std::fs::read_to_string(&args.lock).unwrap_or_default();
    if args.check {
        if old != text {
            bail!(
                "{} is not what {} resolves to today{}; write it with: assemble lock",
                args.lock.display(),
                args.images.display(),
                first_difference(&old, &text)
            );
        }
    } else if old != text {
        lock.save(&args.lock)?;
    }
    report(&args, &lock, old == text);
    Ok(())
}

fn read_images(path: &Path) -> Result<Images> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}

fn suites(debian: &Debian) -> Vec<Suite> {
    let names = debian
        .suites
        .clone()
        .unwrap_or_else(|| vec!["bookworm".to_owned()]);
    names
        .into_iter()
        .map(|name| Suite {
            archive: apt::archive_of(&name).to_owned(),
            components: vec!["main".to_owned()],
            name,
        })
        .collect()
}

/// The sets to resolve, those that others go beyond first.
fn requests(images: &Images) -> Result<Vec<SetRequest>> {
    let architectures = images
        .debian
        .architectures
        .clone()
        .unwrap_or_else(|| vec!["amd64".to_owned()]);
    let named = images.debian.sets.iter().map(|(name, set)| SetRequest {
        name: name.clone(),
        roots: set.packages.clone(),
        architectures: architectures.clone(),
        omit: set.omit.clone(),
        beyond: None,
    });
    let own = images
        .images
        .iter()
        .filter(|(_, image)| !image.packages.is_empty());
    let own = own.map(|(name, image)| SetRequest {
        name: format!("images.{name}"),
        roots: image.packages.clone(),
        architectures: architectures.clone(),
        beyond: images
            .debian
            .sets
            .contains_key("base")
            .then(|| "base".to_owned()),
        ..SetRequest::default()
    });
    let requests: Vec<SetRequest> = named.chain(own).collect();
    if requests.is_empty() {
        bail!("no set of packages is named: add [debian.sets.NAME] with packages = [...]");
    }
    Ok(requests)
}

fn resolve(args: &Args, suites: &[Suite], requests: &[SetRequest]) -> Result<Lock> {
    let mut mirrors = Mirrors::default();
    if suites.iter().any(|suite| {
        !args
            .mirror
            .iter()
            .any(|(archive, _)| *archive == suite.archive)
    }) {
        mirrors = Mirrors::of_machine()?;
    }
    for (archive, url) in &args.mirror {
        mirrors.set(archive, url);
    }
    let architectures = architectures(requests);
    let options = IndexOptions {
        suites,
        architectures: &architectures,
        keyring: &args.keyring,
        allow_stale: args.allow_stale,
    };
    let indexes = apt::read_indexes(&mirrors, &options)?;
    let universe = Universe::new(suites.to_vec(), indexes.packages)?;
    let snapshot = indexes.date.plus_hours(HOURS_TO_SNAPSHOT).timestamp();
    Ok(universe.lock(requests, &snapshot)?)
}

/// Every architecture that a set is for or that one of its packages names.
fn architectures(requests: &[SetRequest]) -> Vec<String> {
    let own = requests
        .iter()
        .flat_map(|request| request.architectures.iter().cloned());
    let named = requests
        .iter()
        .flat_map(|request| &request.roots)
        .filter_map(|root| {
            let (_, architecture) = root.split_once(':')?;
            architecture.split_whitespace().next().map(str::to_owned)
        });
    own.chain(named)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn first_difference(old: &str, new: &str) -> String {
    if old.is_empty() {
        return " (there is none)".to_owned();
    }
    let lines = old.lines().map(Some).chain(std::iter::repeat(None));
    let place = new
        .lines()
        .zip(lines)
        .position(|(new, old)| Some(new) != old);
    place.map_or(String::new(), |line| {
        format!(" (first difference in line {})", line + 1)
    })
}

fn report(args: &Args, lock: &Lock, unchanged: bool) {
    for (name, set) in &lock.sets {
        for (architecture, keys) in set {
            let bytes: u64 = keys
                .iter()
                .filter_map(|key| lock.packages.get(key))
                .map(|p| p.size)
                .sum();
            println!(
                "{name:<16} {architecture:<8} {:>4} packages {:>8.1} MB",
                keys.len(),
                bytes as f64 / 1e6
            );
        }
    }
    let state = if unchanged {
        "is up to date"
    } else {
        "written"
    };
    println!("{} {state}", args.lock.display());
}
