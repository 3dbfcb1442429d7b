//! `assemble lock`: resolves the sets of Debian packages in `images.toml` into `debian.lock`, pins
//! the release of the Rust project that compiles in `toolchain.lock`, and adds the hashes of
//! downloads to `images.toml` itself.

mod downloads;
mod release;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use crateyard_build::placed::placed;
use crateyard_debian::apt::{self, IndexOptions, Mirror, Mirrors};
use crateyard_debian::keys::Keys;
use crateyard_debian::lock::{Lock, Suite};
use crateyard_debian::release::DEBIAN_KEYRING;
use crateyard_debian::resolve::{SetRequest, Universe};
use crateyard_description::Description;
use crateyard_terminal::print_line;
use crateyard_workspace::described;

use crate::native;

/// The time in hours until the snapshot archive has a file. The archive publishes files before the
/// date in its release file, and the snapshot archive has them some time after that date.
const HOURS_TO_SNAPSHOT: u64 = 24;

/// The default set for images.
const BASE: &str = "base";

/// Pin the Debian packages of images.toml in debian.lock, the compiler in toolchain.lock, and
/// downloads by their hashes
#[derive(clap::Args)]
pub struct Args {
    /// The workspace: a directory with images.toml [default: .]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// The description of the images [default: images.toml in the workspace]
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
    /// The lock to write [default: debian.lock in the workspace]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// The lock of the crates, whose known native dependencies are resolved too [default:
    /// Cargo.lock in the workspace]
    #[arg(long, value_name = "FILE")]
    cargo_lock: Option<PathBuf>,
    /// Write nothing; fail if the lock is out of date
    #[arg(long)]
    check: bool,
    /// Keys that may sign the archive's indexes
    #[arg(long, value_name = "FILE", default_value = DEBIAN_KEYRING)]
    keyring: PathBuf,
    /// Download an archive from here, instead of from where the machine's apt does
    #[arg(long, value_name = "ARCHIVE=URL")]
    mirror: Vec<Mirror>,
    /// Leave toolchain.lock unchanged
    #[arg(long)]
    without_toolchain: bool,
    /// Leave debian.lock unchanged
    #[arg(long, conflicts_with = "without_toolchain")]
    without_debian: bool,
    /// Accept expired indexes
    #[arg(long)]
    allow_stale: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let here = Path::new(".");
    let named = args.workspace.as_deref();
    let file =
        |given: &Option<PathBuf>, name: &str| placed(given.as_ref(), named.unwrap_or(here), name);
    let images = file(&args.images, "images.toml");
    let lock_file = file(&args.lock, "debian.lock");
    let cargo_lock = file(&args.cargo_lock, "Cargo.lock");
    // A description elsewhere belongs to the workspace around it, unless another one is named.
    let around = images.parent().filter(|it| !it.as_os_str().is_empty());
    let workspace = named.or(around).unwrap_or(here);
    crateyard_workspace::files::check(workspace)?;
    let described = described::read(&images)?;
    downloads::pin(&images, &described, args.check)?;
    if !args.without_toolchain {
        release::pin(workspace, &described, args.check)?;
    }
    if args.without_debian {
        return Ok(());
    }
    native::check_crates(&described, &cargo_lock)?;
    let description = native::with_known_crates(described, &cargo_lock)?;
    let debians = description.debian.suites.iter().map(|name| suite(name));
    let suites: Vec<Suite> = debians.chain(sources::suites(&description)).collect();
    let sources = sources::keys(&description, workspace)?;
    let requests = requests(&description)?;
    let lock = resolve(&args, &suites, &sources, requests)?;
    let text = lock.to_text();
    let old = std::fs::read_to_string(&lock_file).unwrap_or_default();
    if args.check {
        if old != text {
            bail!(
                "{} is not what {} resolves to today{}; write it with: assemble lock",
                lock_file.display(),
                images.display(),
                first_difference(&old, &text)
            );
        }
    } else if old != text {
        lock.save(&lock_file)?;
    }
    report(&lock_file, &lock, old == text)
}

fn suite(name: &str) -> Suite {
    Suite {
        name: name.to_owned(),
        archive: apt::archive_of(name).to_owned(),
        components: vec!["main".to_owned()],
        url: None,
    }
}

/// Returns the sets to resolve, each after the set that it extends.
fn requests(description: &Description) -> Result<Vec<SetRequest>> {
    let mut waiting = description.package_sets();
    let mut requests: Vec<SetRequest> = Vec::new();
    while !waiting.is_empty() {
        let done: BTreeSet<String> = requests
            .iter()
            .map(|request| request.name.clone())
            .collect();
        let (ready, later): (BTreeMap<_, _>, BTreeMap<_, _>) = waiting
            .into_iter()
            .partition(|(_, set)| set.beyond.as_ref().is_none_or(|base| done.contains(base)));
        if ready.is_empty() {
            let names: Vec<String> = later.into_keys().collect();
            bail!(
                "the sets {} go beyond each other, or beyond a set that does not exist",
                names.join(", ")
            );
        }
        requests.extend(ready.into_iter().map(|(name, set)| SetRequest {
            name,
            roots: set.packages,
            architectures: set.architectures,
            omit: set.omit,
            dependencies: set.dependencies,
            beyond: set.beyond,
        }));
        waiting = later;
    }
    Ok(requests)
}

fn resolve(
    args: &Args,
    suites: &[Suite],
    sources: &BTreeMap<String, apt::Source>,
    mut requests: Vec<SetRequest>,
) -> Result<Lock> {
    let mut mirrors = Mirrors::default();
    let is_named = |suite: &Suite| args.mirror.iter().any(|it| it.archive == suite.archive);
    if suites
        .iter()
        .any(|suite| suite.url.is_none() && !is_named(suite))
    {
        mirrors = Mirrors::of_machine()?;
    }
    mirrors.set_sources(suites);
    mirrors.set_all(&args.mirror);
    let mut architectures = BTreeSet::new();
    for request in &requests {
        architectures.extend(request.needed_architectures()?);
    }
    let architectures: Vec<String> = architectures.into_iter().collect();
    let options = IndexOptions {
        suites,
        architectures: &architectures,
        keys: &Keys::read(&args.keyring)?,
        sources,
        allow_stale: args.allow_stale,
    };
    let indexes = apt::read_indexes(&mirrors, &options)?;
    let universe = Universe::new(suites.to_vec(), indexes.packages)?;
    let libraries = libraries(&requests, &universe)?;
    requests.extend(libraries);
    let snapshot = indexes.date.plus_hours(HOURS_TO_SNAPSHOT).timestamp();
    Ok(universe.lock(&requests, &snapshot)?)
}

/// Returns the set `libraries.NAME` for each set that a crate compiles with (`crates.NAME`). An
/// image needs this set if its programs link the crate.
fn libraries(requests: &[SetRequest], universe: &Universe) -> Result<Vec<SetRequest>> {
    let base = requests.iter().find(|request| request.name == BASE);
    let mut libraries = Vec::new();
    for request in requests {
        let Some(name) = request.name.strip_prefix("crates.") else {
            continue;
        };
        let roots = universe.libraries_of(&request.roots)?;
        if roots.is_empty() {
            continue;
        }
        // If the base has no packages for an architecture, no set can extend it.
        let covers = |base: &&SetRequest| {
            let mut wanted = request.architectures.iter();
            wanted.all(|architecture| base.architectures.contains(architecture))
        };
        libraries.push(SetRequest {
            name: format!("libraries.{name}"),
            roots,
            beyond: base.filter(covers).map(|base| base.name.clone()),
            ..request.clone()
        });
    }
    Ok(libraries)
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

fn report(file: &Path, lock: &Lock, unchanged: bool) -> Result<()> {
    for (name, set) in &lock.sets {
        for (architecture, keys) in set {
            let bytes: u64 = keys
                .iter()
                .filter_map(|key| lock.packages.get(key))
                .map(|p| p.size)
                .sum();
            print_line(format!(
                "{name:<16} {architecture:<8} {:>4} packages {:>8.1} MB",
                keys.len(),
                bytes as f64 / 1e6
            ))?;
        }
    }
    let state = if unchanged {
        "is up to date"
    } else {
        "written"
    };
    print_line(format!("{} {state}", file.display()))
}
