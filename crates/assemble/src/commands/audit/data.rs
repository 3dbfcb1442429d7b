//! Gets advisories from copies on this machine, or from their publishers.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crateyard_audit::database::Database;
use crateyard_audit::tracker::Tracker;
use crateyard_terminal::{note, warning};
use crateyard_web::Reply;
use crateyard_workspace::state;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The addresses where RustSec publishes its database, and Debian its security data.
const RUSTSEC: &str = "https://github.com/RustSec/advisory-db/archive/refs/heads/main.tar.gz";
const DEBIAN: &str = "https://security-tracker.debian.org/tracker/data/json";
/// The time to wait for a connection, and for the next byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// The size limit for a download, in bytes.
const MAX_DOWNLOAD: u64 = 512 << 20;

/// Options for the sources of advisories.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Advisories")]
pub struct DataArgs {
    /// RustSec's database: a checkout, its .tar.gz, or the address of one; may be repeated
    ///
    /// Without it, the database is downloaded from RustSec.
    #[arg(long, value_name = "PATH|URL")]
    advisories: Vec<String>,

    /// The data of Debian's security tracker: a file, or the address of one
    ///
    /// Without it, the data is downloaded from Debian if an image has Debian packages.
    #[arg(long, value_name = "PATH|URL")]
    debian: Option<String>,

    /// Ignore Debian packages
    #[arg(long, conflicts_with = "debian")]
    no_debian: bool,

    /// Download nothing and use the copies of the last download
    #[arg(long)]
    offline: bool,
}

/// Known vulnerabilities.
pub struct Advisories {
    /// RustSec's advisories.
    pub rustsec: Option<Database>,
    /// Debian's security data.
    pub debian: Option<Tracker>,
    /// A summary of the data, for people.
    pub summary: Summary,
}

/// A summary of the data that was read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The number of advisories in RustSec's copy.
    rustsec: usize,
    /// The date of the newest advisory.
    newest: Option<String>,
    /// Whether Debian's data was read.
    debian: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = self.newest.as_deref().unwrap_or("never");
        write!(
            f,
            "{} advisories of RustSec, the newest from {newest}",
            self.rustsec
        )?;
        match self.debian {
            true => writeln!(f, "; Debian's security data"),
            false => writeln!(f),
        }
    }
}

impl Advisories {
    /// Reads all advisories of RustSec, and Debian's data about `sources`.
    ///
    /// # Errors
    /// When a copy can't be read or downloaded.
    pub fn load(args: &DataArgs, sources: &BTreeSet<String>) -> Result<Advisories> {
        let default = [RUSTSEC.to_owned()];
        let places = match args.advisories.is_empty() {
            true => &default[..],
            false => &args.advisories,
        };
        let mut rustsec = Database::default();
        for place in places {
            rustsec.extend(Database::read(&located(
                place,
                "--advisories",
                args.offline,
            )?)?);
        }
        let debian = match args.no_debian || sources.is_empty() {
            true => None,
            false => {
                let place = args.debian.as_deref().unwrap_or(DEBIAN);
                let path = located(place, "--debian", args.offline)?;
                Some(Tracker::read(&path, sources)?)
            }
        };
        Ok(Advisories {
            summary: Summary {
                rustsec: rustsec.all().count(),
                newest: rustsec.newest().map(str::to_owned),
                debian: debian.is_some(),
            },
            rustsec: Some(rustsec),
            debian,
        })
    }
}

/// Returns the path of a source's content on this machine. If the source is an address, updates its
/// copy first.
fn located(place: &str, option: &str, is_offline: bool) -> Result<PathBuf> {
    if !place.starts_with("https://") && !place.starts_with("http://") {
        return Ok(PathBuf::from(place));
    }
    if !crateyard_web::is_private(place) {
        bail!("{option} {place:?}: anyone on the network could change the data\n  try: https://");
    }
    Copy::of(place)?.update(option, is_offline)
}

/// The copy of the last download from an address.
struct Copy<'a> {
    url: &'a str,
    directory: PathBuf,
    content: PathBuf,
    /// The file with the server's tag for this version.
    tag: PathBuf,
}

impl<'a> Copy<'a> {
    fn of(url: &'a str) -> Result<Copy<'a>> {
        let directory = state::cache()?.join("advisories");
        let name = format!("{:x}", Sha256::digest(url.as_bytes()));
        Ok(Copy {
            url,
            content: directory.join(&name[..32]),
            tag: directory.join(format!("{}.tag", &name[..32])),
            directory,
        })
    }

    fn update(&self, option: &str, is_offline: bool) -> Result<PathBuf> {
        let is_there = self.content.is_file();
        if is_offline {
            if !is_there {
                bail!(
                    "there is no copy of {} yet\n  try: without --offline, or {option} PATH",
                    self.url
                );
            }
            return Ok(self.content.clone());
        }
        note!("fetching {}", self.url);
        match self.fetch(is_there) {
            Ok(()) => Ok(self.content.clone()),
            Err(error) if is_there => {
                warning!("{error:#}; using the copy of the last download");
                Ok(self.content.clone())
            }
            Err(error) => {
                Err(error.context(format!("no advisories\n  try: {option} PATH with a copy")))
            }
        }
    }

    fn fetch(&self, is_there: bool) -> Result<()> {
        let cannot = |path: &Path| format!("cannot write {}", path.display());
        fs::create_dir_all(&self.directory).with_context(|| cannot(&self.directory))?;
        let tag = fs::read_to_string(&self.tag).ok().filter(|_| is_there);
        let file = tempfile::NamedTempFile::new_in(&self.directory);
        let mut file = file.with_context(|| cannot(&self.directory))?;
        let client = crateyard_web::client(PATIENCE).map_err(anyhow::Error::msg)?;
        let download =
            crateyard_web::download(&client, self.url, tag.as_deref(), MAX_DOWNLOAD, &mut file);
        let reply = crateyard_registry::run_on_this_thread(download)?;
        let Reply::Content { tag } = reply else {
            return Ok(());
        };
        // A tag that outlives its content would keep an old copy forever.
        match fs::remove_file(&self.tag) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| cannot(&self.tag));
            }
            _ => {}
        }
        file.as_file()
            .sync_all()
            .with_context(|| cannot(&self.content))?;
        file.persist(&self.content)
            .with_context(|| cannot(&self.content))?;
        if let Some(tag) = tag {
            fs::write(&self.tag, tag).with_context(|| cannot(&self.tag))?;
        }
        Ok(())
    }
}
