//! `assemble cache push`: sends builds from this machine's store to a cache.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use crateyard_cache::packs::{Build, PACK_SIZE, PackDirectory, PackWriter, Packs, publish};
use crateyard_cache::status::ask;
use crateyard_cache::{Address, Collected, Directory, Retention};
use crateyard_flake::Nix;
use crateyard_nix::{Closure, Node, Registered, SecretKey, StorePath, environment};
use crateyard_oci::Reference;
use crateyard_registry::Client;
use crateyard_terminal::{count, print_json, print_line, warning};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{WorkArgs, parse_name};
use crate::caches::{CacheArgs, packs};
use crate::connection::{ConnectionArgs, bytes, parse_size};

const EXAMPLES: &str = "\
Examples:
  assemble cache push --to /srv/cache --sign-key main.key
  assemble cache push --to 's3://bucket?endpoint=s3.example' --sign-key main.key
  assemble cache push --to pack:.cache/units --name \"$BRANCH\"             key in CRATEYARD_SIGN_KEY
  assemble cache push --to oci://registry.example/team/cache:main --sign-key main.key
  assemble cache push --to oci://registry.example/team/cache:pr-7 --sign-key pr.key \\
      --cache oci://registry.example/team/cache:main --trusted-key main-1:…   without what main has";

/// Send builds to a cache: images, units, toolchain, and everything evaluation reads
///
/// Builds the packages first, unless the store or a cache has them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    work: WorkArgs,
    /// The target: a directory, http(s)://…, s3://…, pack:DIR or oci://REGISTRY/REPOSITORY:TAG
    #[arg(long, value_name = "CACHE")]
    to: Address,
    /// Name of the build. The cache keeps what it needs as long as the name exists
    #[arg(long, value_name = "NAME", default_value = "latest", value_parser = parse_name)]
    name: String,
    /// The file with the signing key; without it CRATEYARD_SIGN_KEY holds the key itself
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Also send downloads: crates and Debian packages
    #[arg(long)]
    sources: bool,
    /// Send the packages alone, without the units and the toolchain that built them
    #[arg(long, conflicts_with = "sources")]
    packages_only: bool,
    /// The size at which the next pack begins
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    pack_size: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    caches: CacheArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The variable that holds the signing key.
const KEY_VARIABLE: &str = "CRATEYARD_SIGN_KEY";

/// The command's JSON output.
#[derive(Default, Serialize)]
struct Report {
    /// The number of paths in the build.
    paths: usize,
    /// The number of paths that were sent.
    sent: usize,
    /// Bytes that were sent; 0 if Nix sent them, which does not report it.
    bytes: u64,
    /// The number of requests to the registry.
    requests: u64,
}

/// Runs the command.
///
/// # Errors
/// When a build fails, the key is missing, or the cache can't be written.
pub fn run(args: Args) -> Result<()> {
    let key = Key::find(args.sign_key.as_deref())?;
    let substituters = args.caches.start(&args.connection)?;
    let nix = args.work.nix(&substituters);
    build(&args.work, &nix)?;
    let closure = args.work.evaluate(&nix)?;
    let wanted = wanted(&closure, &args)?;
    let present = args.work.store().present(&wanted)?;
    let push = Push {
        args: &args,
        key: &key,
        wanted: &wanted,
        present: &present,
    };
    let report = match &args.to {
        Address::Packs(path) => push.to_packs(&PackDirectory::new(path))?,
        Address::Registry(reference) => push.to_registry(reference)?,
        Address::Directory(path) => push.to_directory(&Directory::new(path), &nix)?,
        Address::Http(url) | Address::Nix(url) => push.by_nix(url, &nix, &push.lacking()?)?,
    };
    match args.json {
        true => print_json(&report),
        false => print(&report, &args),
    }
}

fn wanted(closure: &Closure, args: &Args) -> Result<BTreeSet<StorePath>> {
    if args.packages_only {
        let packages = closure.roots.iter().map(|&root| &closure.nodes[root]);
        let outputs = packages.flat_map(Node::outputs);
        return Ok(outputs.map(str::parse).collect::<Result<_, _>>()?);
    }
    let mut wanted = closure.built_outputs()?;
    if args.sources {
        wanted.extend(closure.downloads()?);
    }
    Ok(wanted)
}

fn print(report: &Report, args: &Args) -> Result<()> {
    let sent = match report.bytes {
        0 => String::new(),
        size => format!(", {}", bytes(size)),
    };
    print_line(format!(
        "{} in {}, {} sent{sent}",
        count(report.paths, "path"),
        args.to,
        report.sent
    ))
}

fn build(work: &WorkArgs, nix: &Nix) -> Result<()> {
    let mut command = vec!["build".into(), "--no-link".into()];
    command.extend(
        work.store
            .iter()
            .flat_map(|it| ["--store".into(), it.into()]),
    );
    command.extend(work.installables(nix)?.into_iter().map(Into::into));
    nix.read(command)?;
    Ok(())
}

/// A signing key, and a file that holds it.
struct Key {
    secret: SecretKey,
    path: PathBuf,
    /// The file, if it is temporary; it is removed on drop.
    _file: Option<NamedTempFile>,
}

impl Key {
    fn find(file: Option<&Path>) -> Result<Key> {
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the key {}", path.display()))?;
            let path = std::path::absolute(path)?;
            return Ok(Key {
                secret: text.parse()?,
                path,
                _file: None,
            });
        }
        let text = std::env::var(KEY_VARIABLE).unwrap_or_default();
        if text.is_empty() {
            bail!(
                "there is no key to sign with, and what is not signed is trusted by nobody\n  try: --sign-key FILE or \
                 {KEY_VARIABLE}; make one with: nix key generate-secret --key-name NAME"
            );
        }
        let secret = text.parse()?;
        // Nix wants a file. Only the user can read it.
        let mut file = NamedTempFile::new().context("cannot make a file for the key")?;
        file.write_all(text.as_bytes())?;
        let path = file.path().to_owned();
        Ok(Key {
            secret,
            path,
            _file: Some(file),
        })
    }
}

/// One push.
struct Push<'a> {
    args: &'a Args,
    key: &'a Key,
    /// Paths of the build.
    wanted: &'a BTreeSet<StorePath>,
    /// The paths that the store has.
    present: &'a BTreeSet<StorePath>,
}

impl Push<'_> {
    /// The paths that the store has and that no cache besides the target has.
    fn lacking(&self) -> Result<BTreeSet<StorePath>> {
        let (client, _) = self.args.connection.client()?;
        let known = crateyard_registry::run(async {
            let caches = self.args.caches.open(&client).await;
            ask(&caches, &self.args.caches.trusted(), self.present).await
        });
        for failure in &known.failures {
            warning!("not asked: {failure}");
        }
        let is_new = |path: &&StorePath| !known.cached.contains_key(path);
        Ok(self.present.iter().filter(is_new).cloned().collect())
    }

    fn to_directory(&self, directory: &Directory, nix: &Nix) -> Result<Report> {
        directory.touch(self.wanted)?;
        let lacking = self.lacking()?;
        let path = std::path::absolute(directory.path())?;
        let url = Address::Directory(path).to_string();
        let report = self.by_nix(&url, nix, &lacking)?;
        let mut there = BTreeSet::new();
        for path in self.wanted {
            if directory.narinfo(path.hash())?.is_some() {
                there.insert(path.clone());
            }
        }
        directory.name_build(&self.args.name, &there)?;
        Ok(Report {
            paths: there.len(),
            ..report
        })
    }

    /// Pushes by `nix copy`: archives before narinfos, and references before referrers.
    fn by_nix(&self, url: &str, nix: &Nix, paths: &BTreeSet<StorePath>) -> Result<Report> {
        let separator = if url.contains('?') { '&' } else { '?' };
        let key = self.key.path.display();
        let to =
            format!("{url}{separator}compression=zstd&parallel-compression=true&secret-key={key}");
        let config = nix.config()?;
        let mut command = environment::with_credentials(&config.nix);
        command.env("NIX_CONFIG", &config.text).arg("copy");
        command.args(self.args.work.store.iter().flat_map(|it| ["--store", it]));
        command
            .args(["--to", &to])
            .args(paths.iter().map(StorePath::to_string));
        let sent = if paths.is_empty() { 0 } else { copy(command)? };
        Ok(Report {
            paths: paths.len(),
            sent,
            ..Report::default()
        })
    }

    fn to_packs(&self, directory: &PackDirectory) -> Result<Report> {
        let lock = directory.lock()?;
        let packs = Packs::open_directory(directory.clone())?;
        let report = self.write(packs.as_ref(), directory, &BTreeSet::new())?;
        directory.sweep(&lock)?;
        Ok(report)
    }

    fn to_registry(&self, reference: &Reference) -> Result<Report> {
        let (client, display) = self.args.connection.client()?;
        let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
        let directory = PackDirectory::new(temporary.path());
        let _lock = directory.lock()?;
        let (there, lost) = crateyard_registry::run(async {
            let there = packs(&Address::Registry(reference.clone()), &client).await?;
            let lost = match &there {
                Some(packs) => packs.lost().await?,
                None => BTreeSet::new(),
            };
            Ok::<_, crateyard_cache::Error>((there, lost))
        })?;
        if !lost.is_empty() {
            warning!(
                "{reference}: the registry has lost {}",
                count(lost.len(), "pack")
            );
        }
        let mut report = self.write(there.as_ref(), &directory, &lost)?;
        display.begin(&reference.to_string());
        let sent = crateyard_registry::run(publish(&client, &directory, reference));
        display.end();
        let sent = sent.with_context(|| format!("cannot push to {reference}"))?;
        report.bytes = sent.bytes_sent;
        report.requests = sent.requests;
        Ok(report)
    }

    /// Writes the missing paths into new packs, and an index of old and new packs.
    fn write(
        &self,
        there: Option<&Packs>,
        directory: &PackDirectory,
        lost: &BTreeSet<crateyard_oci::Digest>,
    ) -> Result<Report> {
        let mut index = there.map(|packs| packs.index().clone()).unwrap_or_default();
        index.packs.retain(|pack| !lost.contains(&pack.digest));
        // Other people may be able to write there. Their paths, which no trusted key signed, are
        // dropped.
        let mut keys = self.args.caches.trusted();
        keys.push(self.key.secret.public());
        let refused = index.retain_signed(&keys)?;
        if refused > 0 {
            warning!("{refused} paths are signed by no trusted key; removed");
        }
        let known: BTreeSet<StorePath> = index.paths()?;
        let lacking = self.lacking()?;
        let new: BTreeSet<StorePath> = lacking.difference(&known).cloned().collect();
        let elsewhere = self.present.difference(&lacking);
        let not_sent = known.iter().chain(elsewhere).cloned().collect();
        let new = self.with_references(new, not_sent)?;
        let mut writer = PackWriter::new(&directory.blobs(), self.args.pack_size);
        let bar = progress(new.len());
        for registered in &new {
            writer.add(&self.args.work.store(), registered, &self.key.secret)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let added = writer.finish()?;
        let report_bytes = added.iter().map(|pack| pack.size).sum();
        let mut paths: BTreeSet<StorePath> = self.wanted.intersection(&known).cloned().collect();
        paths.extend(new.iter().map(|registered| registered.path.clone()));
        let count = paths.len();
        let build = Build {
            pushed: crateyard_cache::now(),
            paths,
        };
        index.add(added, &self.args.name, build);
        directory.commit(&index)?;
        Ok(Report {
            paths: count,
            sent: new.len(),
            bytes: report_bytes,
            requests: 0,
        })
    }

    /// The registrations of paths and their closure, except those in `seen`.
    fn with_references(
        &self,
        paths: BTreeSet<StorePath>,
        mut seen: BTreeSet<StorePath>,
    ) -> Result<Vec<Registered>> {
        let store = self.args.work.store();
        let mut found = Vec::new();
        let mut open = paths;
        while !open.is_empty() {
            let registered = store.registered(&open)?;
            seen.append(&mut open);
            let references = registered.iter().flat_map(|it| &it.references);
            open.extend(references.filter(|path| !seen.contains(path)).cloned());
            found.extend(registered);
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }
}

/// Runs `nix copy`, shows its progress, and returns the number of sent paths.
fn copy(mut command: Command) -> Result<usize> {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start nix copy")?;
    let stderr = child
        .stderr
        .take()
        .context("nix copy has no standard error")?;
    let bar = progress(0);
    let (mut sent, mut said) = (0, String::new());
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        if line.starts_with("copying path ") {
            sent += 1;
            bar.inc(1);
        } else if let Some(total) = total_of(&line) {
            bar.set_length(total);
        } else {
            said += &format!("{line}\n");
        }
    }
    bar.finish_and_clear();
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "nix copy failed: {}",
            said.trim().trim_start_matches("error: ")
        );
    }
    Ok(sent)
}

/// The number in `copying 332 paths...`.
fn total_of(line: &str) -> Option<u64> {
    line.strip_prefix("copying ")?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

/// A bar on a terminal, nothing elsewhere.
fn progress(total: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    match ProgressStyle::with_template("paths [{bar:40}] {pos}/{len} {elapsed}") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// Removes the builds from a registry that the retention does not keep.
///
/// The registry's own garbage collection frees blobs that no tag names any longer.
pub fn collect_in_registry(
    reference: &Reference,
    retention: &Retention,
    connection: &ConnectionArgs,
) -> Result<Collected> {
    let (client, _): (Client, _) = connection.client()?;
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let directory = PackDirectory::new(temporary.path());
    let _lock = directory.lock()?;
    crateyard_registry::run(async {
        let Some(packs) = Packs::open_registry(&client, reference).await? else {
            return Ok(Collected::default());
        };
        let (index, collected) = packs
            .collect(retention, PackWriter::new(&directory.blobs(), PACK_SIZE))
            .await?;
        if !retention.dry_run {
            directory.commit(&index)?;
            publish(&client, &directory, reference).await?;
        }
        Ok(collected)
    })
}
