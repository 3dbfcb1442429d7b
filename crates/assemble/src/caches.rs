//! The caches that builds use: options, and the settings for Nix.

use std::str::FromStr;

use anyhow::Result;
use crateyard_cache::packs::{PackDirectory, Packs};
use crateyard_cache::serve::Background;
use crateyard_cache::status::Cache;
use crateyard_cache::{Address, Directory, Http};
use crateyard_flake::Nix;
use crateyard_nix::PublicKey;
use crateyard_registry::Client;
use crateyard_terminal::{note, warning};

use crate::connection::ConnectionArgs;

/// Nix's settings for caches. By default, Nix waits five minutes for a cache, and without
/// `fallback` a failing cache ends the build. A cache may now have a path that it lacked a minute
/// ago.
const PATIENCE: &str = "\
connect-timeout = 5
stalled-download-timeout = 15
download-attempts = 3
fallback = true
narinfo-cache-negative-ttl = 0
narinfo-cache-positive-ttl = 0
";

/// Options that name caches to read from.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cache options")]
pub struct CacheArgs {
    /// Take from this cache: a directory, http(s)://…, s3://…, pack:DIR or
    /// oci://REGISTRY/REPOSITORY:TAG; may be repeated
    #[arg(long = "cache", value_name = "CACHE")]
    caches: Vec<Address>,

    /// Trust paths that this key has signed (NAME:BASE64); may be repeated
    #[arg(
        long = "trusted-key",
        value_name = "KEY",
        env = "CRATEYARD_TRUSTED_KEYS"
    )]
    trusted: Vec<Keys>,
}

/// Keys separated by spaces. A variable may be set and empty.
#[derive(Clone, Debug, Default)]
struct Keys(Vec<PublicKey>);

impl FromStr for Keys {
    type Err = crateyard_nix::Error;

    fn from_str(text: &str) -> Result<Keys, crateyard_nix::Error> {
        let keys = text.split_whitespace().map(str::parse);
        keys.collect::<Result<_, _>>().map(Keys)
    }
}

/// Caches that Nix can read as long as this value exists.
pub struct Substituters {
    urls: Vec<String>,
    keys: Vec<PublicKey>,
    _server: Option<Background>,
}

impl CacheArgs {
    /// Returns the trusted keys.
    pub fn trusted(&self) -> Vec<PublicKey> {
        let keys = self.trusted.iter().flat_map(|keys| &keys.0);
        keys.cloned().collect()
    }

    /// Returns the caches' addresses.
    pub fn addresses(&self) -> &[Address] {
        &self.caches
    }

    /// Makes the caches readable for Nix. A server on this machine serves the pack caches.
    ///
    /// # Errors
    /// When the options of the connection are wrong, or no port is free.
    pub fn start(&self, connection: &ConnectionArgs) -> Result<Substituters> {
        let (behind, plain): (Vec<&Address>, Vec<&Address>) = self
            .caches
            .iter()
            .partition(|address| address.needs_server());
        let mut urls: Vec<String> = plain.into_iter().map(Address::to_string).collect();
        let mut server = None;
        if !behind.is_empty() {
            let client = connection.impatient_client()?;
            let background = Background::start(open_packs(&behind, &client, &self.trusted()))?;
            urls.push(background.url().to_owned());
            server = Some(background);
        }
        Ok(Substituters {
            urls,
            keys: self.trusted(),
            _server: server,
        })
    }

    /// Opens the caches for queries. Reports and skips a cache that fails.
    pub async fn open(&self, client: &Client) -> Vec<Cache> {
        let mut opened = Vec::new();
        for address in &self.caches {
            match open_one(address, client).await {
                Ok(Some(cache)) => opened.push(cache),
                Ok(None) => note!("{address} is empty"),
                Err(error) => without(address, &error),
            }
        }
        opened
    }
}

impl Substituters {
    /// Returns a Nix whose arguments make it read from the caches.
    pub fn nix(&self) -> Nix {
        if self.urls.is_empty() {
            return Nix::default();
        }
        let keys: Vec<String> = self.keys.iter().map(PublicKey::to_string).collect();
        Nix {
            defaults: PATIENCE.to_owned(),
            settings: format!(
                "extra-substituters = {}\nextra-trusted-public-keys = {}\n",
                self.urls.join(" "),
                keys.join(" ")
            ),
            ..Nix::default()
        }
    }
}

/// Opens packs, without the paths that no trusted key has signed.
pub async fn open_packs(
    addresses: &[&Address],
    client: &Client,
    trusted: &[PublicKey],
) -> Vec<Packs> {
    let mut opened = Vec::new();
    for address in addresses {
        match packs(address, client).await {
            Ok(Some(mut packs)) => {
                let refused = packs.trust(trusted);
                if refused > 0 {
                    warning!("{address}: left out {refused} paths that no trusted key has signed");
                }
                opened.push(packs);
            }
            Ok(None) => note!("{address} is empty"),
            Err(error) => without(address, &error),
        }
    }
    opened
}

/// Opens a pack cache. Returns `None` if the cache is empty or is not a pack cache.
///
/// # Errors
/// When the cache is damaged or can't be reached.
pub async fn packs(address: &Address, client: &Client) -> crateyard_cache::Result<Option<Packs>> {
    match address {
        Address::Packs(path) => Packs::open_directory(PackDirectory::new(path)),
        Address::Registry(reference) => Packs::open_registry(client, reference).await,
        _ => Ok(None),
    }
}

async fn open_one(address: &Address, client: &Client) -> crateyard_cache::Result<Option<Cache>> {
    Ok(match address {
        Address::Directory(path) => Some(Cache::Directory(Directory::new(path))),
        Address::Http(url) => Some(Cache::Http(Http::new(url)?)),
        Address::Packs(_) | Address::Registry(_) => packs(address, client)
            .await?
            .map(|packs| Cache::Packs(Box::new(packs))),
        Address::Nix(url) => Some(Cache::Nix(url.clone())),
    })
}

fn without(address: &Address, error: &crateyard_cache::Error) {
    // The later lines of an error suggest a fix, for commands that need the cache.
    let error = error.to_string();
    let first = error.lines().next().unwrap_or_default();
    warning!("{address}: {first}; continuing without it");
}
