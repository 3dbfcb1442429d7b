//! The client: options, and one connection pool for each registry.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crateyard_oci::Reference;
use tokio::runtime::Builder;

use crate::credentials::Credentials;
use crate::error::Error;
use crate::memory::Memory;
use crate::progress::{Progress, Silent};
use crate::repository::Repository;
use crate::retry::Retry;
use crate::tls::ClientCertificate;
use crate::transport::Transport;

/// How registries are talked to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Credentials for every registry, in place of those that are found where docker and podman keep them.
    pub credentials: Option<Credentials>,
    /// Files with certificate authorities (PEM) that are trusted beside the system's.
    pub ca_files: Vec<PathBuf>,
    /// The certificate that is shown to registries that ask for one.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether plain HTTP is spoken to registries that are not on this machine.
    pub plain_http: bool,
    /// When a failed request is sent again.
    pub retry: Retry,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Where the process finds files and helpers.
    pub environment: Environment,
}

/// How long to wait for what.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// Without a byte moving in either direction.
    pub stall: Duration,
    /// How fast a registry is at least expected to digest what it was sent, in bytes a second: it may have to read a
    /// blob once more before it answers.
    pub digestion_rate: u64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            digestion_rate: 10_000_000,
        }
    }
}

impl Options {
    /// The defaults, with the process's own environment.
    pub fn from_environment() -> Options {
        Options::new(Environment::from_process())
    }

    /// The defaults, with `environment`.
    pub fn new(environment: Environment) -> Options {
        Options {
            credentials: None,
            ca_files: Vec::new(),
            client_certificate: None,
            plain_http: false,
            retry: Retry::default(),
            timeouts: Timeouts::default(),
            environment,
        }
    }
}

/// What of the process's environment matters here.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the directory of docker's config.json.
    pub docker_config: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`: the only credentials file, where it is set.
    pub registry_auth_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub xdg_cache_home: Option<PathBuf>,
    /// `PATH`, where credential helpers are searched.
    pub path: Option<OsString>,
}

impl Environment {
    /// Reads the variables of this process.
    pub fn from_process() -> Environment {
        let path = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Environment {
            home: path("HOME"),
            docker_config: path("DOCKER_CONFIG"),
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            xdg_cache_home: path("XDG_CACHE_HOME"),
            path: std::env::var_os("PATH"),
        }
    }

    /// docker's own directory.
    pub(crate) fn docker_directory(&self) -> Option<PathBuf> {
        self.docker_config
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }

    /// Where programs keep their configuration.
    pub(crate) fn config_directory(&self) -> Option<PathBuf> {
        self.xdg_config_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".config")))
    }

    /// Where this crate remembers things; without it nothing is remembered.
    pub(crate) fn memory_directory(&self) -> Option<PathBuf> {
        let cache = self
            .xdg_cache_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".cache")))?;
        Some(cache.join("crateyard/registry"))
    }
}

/// A client for any number of registries. Clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    progress: Arc<dyn Progress>,
    memory: Memory,
    transports: Mutex<BTreeMap<String, Arc<Transport>>>,
}

impl Client {
    /// A client that tells nobody what it does. It connects when it has to.
    pub fn new(options: Options) -> Client {
        Client::with_progress(options, Arc::new(Silent))
    }

    /// A client that tells `progress` what it does.
    pub fn with_progress(options: Options, progress: Arc<dyn Progress>) -> Client {
        let memory = Memory::new(options.environment.memory_directory());
        Client {
            shared: Arc::new(Shared {
                options,
                progress,
                memory,
                transports: Mutex::default(),
            }),
        }
    }

    /// The repository of `reference`.
    ///
    /// # Errors
    /// When certificates that are configured for its registry cannot be read.
    pub fn repository(&self, reference: &Reference) -> Result<Repository, Error> {
        let mut transports = self
            .shared
            .transports
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let transport = match transports.get(reference.registry()) {
            Some(transport) => transport.clone(),
            None => {
                let new = Arc::new(Transport::new(
                    reference,
                    &self.shared.options,
                    self.shared.progress.clone(),
                )?);
                transports.insert(reference.registry().to_owned(), new.clone());
                new
            }
        };
        Ok(Repository::new(reference.without_version(), transport))
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.shared.progress
    }
}

/// Runs `future` to its end on a runtime that this crate's futures can use, for callers that have none.
///
/// # Panics
/// When the operating system gives no thread or no event queue.
pub fn run<F: Future>(future: F) -> F::Output {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
    run_on(Builder::new_multi_thread().worker_threads(threads), future)
}

/// Like [`run`], on the caller's thread alone. It is ready a millisecond sooner, and enough for a future that mostly waits
/// for a registry, as a push does.
///
/// # Panics
/// When the operating system gives no event queue.
pub fn run_on_this_thread<F: Future>(future: F) -> F::Output {
    run_on(&mut Builder::new_current_thread(), future)
}

fn run_on<F: Future>(builder: &mut Builder, future: F) -> F::Output {
    let runtime = builder.enable_all().build();
    let runtime = runtime.expect("threads and an event queue for network connections");
    let output = runtime.block_on(future);
    // What is left are idle connections; nobody has to wait for their end.
    runtime.shutdown_background();
    output
}
