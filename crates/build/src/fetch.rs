//! `assemble fetch`: adds everything that `Cargo.lock`, `debian.lock` and `toolchain.lock` pin to
//! the Nix store. cargo and apt download it, or the machine's rustup has it.
//!
//! Without this command, builds download the same files themselves, from their permanent public
//! addresses. The store path of a file with a known hash does not depend on its source, so nothing
//! downloads a file again that is in the store.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crateyard_debian::apt::Mirror;
use crateyard_debian::lock::Lock;
use crateyard_fetch::crates::{self, CrateFile, Pinned};
use crateyard_fetch::debs::{self, DebFile};
use crateyard_fetch::release::{self, Release};
use crateyard_fetch::{Counts, Missing, downloads, git, lock_path, npm, own::Own, workspace_of};
use crateyard_nix::Store;
use crateyard_terminal as text;
use crateyard_terminal::{Pulse, note, warning};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::placed::placed;

/// Add everything that the locks and images.toml pin to the Nix store, through cargo, apt, npm and
/// rustup
#[derive(clap::Args)]
pub struct Args {
    /// The workspace: a directory with flake.nix and images.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// The lock of the Debian packages [default: debian.lock in the workspace]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// The lock of the crates [default: Cargo.lock in the workspace]
    #[arg(long, value_name = "FILE")]
    cargo_lock: Option<PathBuf>,
    /// The lock of the compiler [default: toolchain.lock in the workspace]
    #[arg(long, value_name = "FILE")]
    toolchain_lock: Option<PathBuf>,
    /// Only these sets of packages, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    sets: Vec<String>,
    /// Only packages for these architectures, separated by commas; without this, packages that only
    /// compile are for this machine's architecture
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    architectures: Vec<String>,
    /// The store to fill, as Nix names it: a directory or a URL
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Download an archive from here, instead of from where the machine's apt does
    #[arg(long, value_name = "ARCHIVE=URL")]
    mirror: Vec<Mirror>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The locks that the command reads.
struct Locks {
    debian: PathBuf,
    cargo: PathBuf,
    toolchain: PathBuf,
}

impl Locks {
    fn of(args: &Args) -> Self {
        let place = |given: &Option<PathBuf>, name| placed(given.as_ref(), &args.workspace, name);
        Self {
            debian: place(&args.lock, "debian.lock"),
            cargo: place(&args.cargo_lock, "Cargo.lock"),
            toolchain: place(&args.toolchain_lock, crateyard_toolchain::lock::FILE),
        }
    }
}

/// The results, printed by `--json`.
#[derive(Default, Serialize)]
struct Report {
    crates: Counts,
    packages: Counts,
    /// Packages that npm installs for parts.
    npm: Counts,
    /// Files that parts download.
    downloads: Counts,
    /// The Rust release that compiles; `None` if Debian's compiler does.
    toolchain: Option<Release>,
    /// Files that could not be fetched, each with the reason.
    missing: Vec<Missing>,
    /// Packages from git repositories.
    git: Vec<String>,
    /// The bootstrap programs that the first build compiles, because neither this command line nor
    /// a cache has them.
    bootstrap: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let locks = Locks::of(&args);
    for lock in [&locks.debian, &locks.cargo] {
        crateyard_workspace::files::check(lock.parent().unwrap_or(Path::new("")))?;
    }
    let flake = workspace_of(&locks.debian).join("flake.nix");
    ensure!(
        locks.debian.exists() || flake.exists(),
        "there is neither {} nor {}; {}",
        locks.debian.display(),
        flake.display(),
        crateyard_workspace::root::hint(workspace_of(&locks.debian), "assemble init")
    );
    let store = Store::new(args.store.clone());
    let lock = Lock::load(&lock_path(&locks.debian, "debianLock")?)
        .context("the lock of the Debian packages, which `assemble lock` writes")?;
    crate::brought::bring(workspace_of(&locks.cargo), args.store.as_deref());

    let (fetched, toolchain) = fetch_at_once(&args, &locks, &lock, &store);
    let Fetched {
        mut report,
        own,
        pinned,
    } = fetched?;
    fetch_inputs_of_parts(&locks.debian, &store, &mut report)?;
    report.toolchain = toolchain?;
    if let Some(own) = own {
        report.bootstrap = own.fetch(&store)?;
        if !report.bootstrap.is_empty() && own.toolchain_lock.exists() {
            // Nix reports missing components when it needs them.
            release::fetch(&own.toolchain_lock, &store)?;
        }
    }
    let failed = git::fetch(&pinned.git, args.store.as_deref());
    let unfetched: Vec<String> = failed.iter().map(|each| each.file.clone()).collect();
    report.missing.extend(failed);
    print(&args, &report, &lock)?;
    // If a package is missing here, Nix gets it from the snapshot archive. For a repository there
    // is no second source.
    ensure!(
        unfetched.is_empty(),
        "git can't fetch {}, which {} pins: no build can succeed. Correct the reason above, or \
         take the dependency from elsewhere in Cargo.toml",
        unfetched.join(", "),
        locks.cargo.display()
    );
    crate::flake_lock::remind(workspace_of(&locks.debian));
    Ok(())
}

/// The files of the locks, and what the locks and the flake pin besides.
struct Fetched {
    report: Report,
    own: Option<Own>,
    pinned: Pinned,
}

/// Fetches crates, Debian packages and the compiler at once. Copying and hashing the compiler takes
/// as long as reading what is pinned and a download of the packages.
fn fetch_at_once(
    args: &Args,
    locks: &Locks,
    lock: &Lock,
    store: &Store,
) -> (Result<Fetched>, Result<Option<Release>>) {
    let compiler = toolchain_lock(&locks.toolchain);
    let (fetched, toolchain) = std::thread::scope(|scope| {
        let compiler = compiler.as_deref();
        let fetch = move || compiler.map(|lock| release::fetch(lock, store)).transpose();
        let toolchain = scope.spawn(fetch);
        let fetched = fetch_pinned(args, locks, lock, store);
        (fetched, joined(toolchain, "fetching the compiler"))
    });
    if let (Err(_), Err(error)) = (&fetched, &toolchain) {
        warning!("the compiler is not fetched either: {error:#}");
    }
    (fetched, toolchain)
}

/// Reads what the locks and the flake pin, and fetches the crates and Debian packages of it.
fn fetch_pinned(args: &Args, locks: &Locks, lock: &Lock, store: &Store) -> Result<Fetched> {
    let reading = Pulse::in_log(|| "reading what is pinned".to_owned());
    let mut debs = debs::select(lock, &args.sets, &args.architectures, store)?;
    let own = own(&locks.cargo);
    let own_lock = own.as_ref().map(|own| Lock::load(&own.debian_lock));
    let own_lock = own_lock.transpose()?.filter(|own_lock| own_lock != lock);
    if let Some(own_lock) = &own_lock {
        debs.extend(own_debs(own_lock, &debs, store)?);
    }
    let pinned = crates::read(&locks.cargo, store)?;
    drop(reading);
    let report = fetch_files(args, locks, &pinned, &debs, store)?;
    Ok(Fetched {
        report,
        own,
        pinned,
    })
}

/// Fetches the crates and Debian packages that the store lacks, both at once.
fn fetch_files(
    args: &Args,
    locks: &Locks,
    pinned: &Pinned,
    debs: &[DebFile<'_>],
    store: &Store,
) -> Result<Report> {
    let missing = store.missing(paths(pinned, debs))?;
    let wanted_crates = pinned.crates.iter().filter(|it| missing.contains(&it.path));
    let wanted_crates: Vec<&CrateFile> = wanted_crates.collect();
    let wanted_debs = debs.iter().filter(|it| missing.contains(&it.path));
    let wanted_debs: Vec<&DebFile<'_>> = wanted_debs.collect();
    let bars = MultiProgress::new();
    let failed = std::thread::scope(|scope| {
        let crates = scope.spawn(|| fetch_crates(&locks.cargo, &wanted_crates, store, &bars));
        let packages = fetch_debs(&args.mirror, &wanted_debs, store, &bars);
        joined(crates, "fetching the crates")?;
        packages
    })?;
    let mut packages = Counts::of(debs.len(), wanted_debs.len());
    packages.added -= failed.len();
    Ok(Report {
        git: pinned.git.iter().map(|each| each.package.clone()).collect(),
        crates: Counts::of(pinned.crates.len(), wanted_crates.len()),
        packages,
        missing: failed,
        ..Report::default()
    })
}

/// Waits for the result of a thread.
fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>, work: &str) -> Result<T> {
    // The panic itself has already printed its message.
    let result = thread.join();
    result.map_err(|_| anyhow::anyhow!("{work} failed"))?
}

/// Fetches the packages of npm and the downloads of the parts of the workspace around a lock.
fn fetch_inputs_of_parts(lock: &Path, store: &Store, report: &mut Report) -> Result<()> {
    let (counts, lacking) = npm::fetch(lock, store)?;
    report.npm = counts;
    report.missing.extend(lacking);
    let (counts, lacking) = downloads::fetch(workspace_of(lock), store)?;
    report.downloads = counts;
    report.missing.extend(lacking);
    Ok(())
}

/// Returns the lock of the compiler that the workspace builds with. If the flake does not name its
/// lock, Nix must download the compiler itself, and a note explains why.
fn toolchain_lock(lock: &Path) -> Option<PathBuf> {
    match lock_path(lock, "toolchainLock") {
        Ok(lock) => Some(lock).filter(|lock| lock.exists()),
        Err(error) => {
            note!("the compiler is not fetched: {error:#}");
            None
        }
    }
}

/// Reads the inputs of Crateyard's own parts. A flake without this information uses an older
/// Crateyard, or none.
fn own(cargo_lock: &Path) -> Option<Own> {
    Own::of(cargo_lock).unwrap_or_else(|error| {
        note!(
            "nothing is fetched for Crateyard's own programs, because the flake did not list their \
             inputs: {error:#}"
        );
        None
    })
}

/// The sets of Crateyard's own lock that any workspace builds with.
const OWN_SETS: [&str; 2] = ["cross-amd64", "toolchain"];

/// Selects the packages of Crateyard's own tools that the workspace does not have.
fn own_debs<'l>(own: &'l Lock, debs: &[DebFile<'_>], store: &Store) -> Result<Vec<DebFile<'l>>> {
    let sets = OWN_SETS.iter().map(|set| (*set).to_owned());
    // The workspace may have an older or a newer Crateyard.
    let sets: Vec<String> = sets.filter(|set| own.sets.contains_key(set)).collect();
    let mut more = debs::select(own, &sets, &[], store)?;
    more.retain(|each| debs.iter().all(|known| known.path != each.path));
    Ok(more)
}

fn paths<'a>(pinned: &'a Pinned, debs: &'a [DebFile<'_>]) -> impl Iterator<Item = &'a str> {
    let crates = pinned.crates.iter().map(|each| each.path.as_str());
    crates.chain(debs.iter().map(|each| each.path.as_str()))
}

fn fetch_crates(
    lock: &Path,
    wanted: &[&CrateFile],
    store: &Store,
    bars: &MultiProgress,
) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (bar, _pulse) = progress_bar(bars, "crates", wanted.len());
    crates::download(lock, || bar.inc(1))?;
    let files = crates::find(wanted)?;
    store
        .add(&files)
        .with_context(|| format!("cannot add the crates to {store}"))?;
    bar.finish_and_clear();
    Ok(())
}

fn fetch_debs(
    mirrors: &[Mirror],
    wanted: &[&DebFile<'_>],
    store: &Store,
    bars: &MultiProgress,
) -> Result<Vec<Missing>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (bar, _pulse) = progress_bar(bars, "packages", wanted.len());
    let directory = apt_directory()?;
    let arrived = debs::download(wanted, directory.path(), mirrors, |done| {
        bar.set_position(done as u64);
    })?;
    store
        .add(&arrived.files)
        .with_context(|| format!("cannot add the packages to {store}"))?;
    bar.finish_and_clear();
    let missing = arrived.missing.into_iter();
    Ok(missing
        .map(|(file, reason)| Missing { file, reason })
        .collect())
}

fn apt_directory() -> Result<tempfile::TempDir> {
    crateyard_debian::apt::download_directory()
        .context("cannot make a directory for apt's downloads")
}

/// Makes a bar on a terminal. Elsewhere prints lines, until the second result is dropped.
fn progress_bar(
    bars: &MultiProgress,
    what: &'static str,
    total: usize,
) -> (ProgressBar, Option<Pulse>) {
    if !std::io::stderr().is_terminal() {
        let bar = ProgressBar::hidden();
        let counted = bar.clone();
        let line = move || format!("{}/{total} · fetching {what}", counted.position());
        return (bar, Pulse::in_log(line));
    }
    let bar = bars.add(ProgressBar::new(total as u64).with_message(what));
    if let Ok(style) = ProgressStyle::with_template("{msg:>10} [{bar:40}] {pos}/{len} {elapsed}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    (bar, None)
}

/// Prints one warning for each reason, no matter how many files it affects.
fn warn_of(missing: &[Missing]) {
    const NAMED: usize = 3;
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for each in missing {
        reasons.entry(&each.reason).or_default().push(&each.file);
    }
    for (reason, files) in reasons {
        let more = files.len().saturating_sub(NAMED);
        let named = files[..files.len() - more].join(", ");
        match more {
            0 => warning!("{named}: {reason}"),
            _ => warning!("{named} and {more} more: {reason}"),
        }
    }
}

fn print(args: &Args, report: &Report, lock: &Lock) -> Result<()> {
    if args.json {
        text::print_json(report)?;
    } else {
        let counts = [("crates", &report.crates), ("packages", &report.packages)];
        let of_parts = [("npm", &report.npm), ("downloads", &report.downloads)];
        let of_parts = of_parts.into_iter().filter(|(_, counts)| counts.total > 0);
        for (name, counts) in counts.into_iter().chain(of_parts) {
            text::print(&format!(
                "{name:<9} {:>5}  added {:>4}  present {:>4}\n",
                counts.total, counts.added, counts.present
            ))?;
        }
    }
    if let Some(release) = &report.toolchain {
        if !args.json {
            text::print(&format!("{}\n", release.describe()))?;
        }
        for (name, reason) in &release.missing {
            warning!("{name}: {reason}");
        }
    }
    if !report.bootstrap.is_empty() && !args.json {
        text::print(&format!(
            "bootstrap {:>5}  the first build compiles {}\n",
            report.bootstrap.len(),
            report.bootstrap.join(", ")
        ))?;
    }
    warn_of(&report.missing);
    let packages = report.missing.iter().filter(|m| m.file.ends_with(".deb"));
    let packages = packages.count();
    if packages > 0 {
        note!(
            "{packages} packages could not be downloaded. Builds get Debian's from the snapshot \
             archive of {}, and others from the archives in images.toml; newer versions are pinned \
             by: assemble lock",
            lock.snapshot
        );
    }
    if !report.git.is_empty() && !args.json {
        text::print(&format!(
            "git       {:>5}  {}\n",
            report.git.len(),
            report.git.join(", ")
        ))?;
    }
    Ok(())
}
