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
use crate::learned::Learned;
use crate::progress::{Progress, Silent};
use crate::repository::Repository;
use crate::retry::Retry;
use crate::tls::ClientCertificate;
use crate::transport::Transport;

/// The options of a client.
#[derive(Clone, Debug)]
pub struct Options {
    /// Credentials for every registry. Without them, the client looks where docker and podman keep
    /// theirs.
    pub credentials: Option<Credentials>,
    /// Files with certificate authorities (PEM) to trust in addition to the system's.
    pub ca_files: Vec<PathBuf>,
    /// The certificate for registries that ask for one.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether to use plain HTTP for registries on other machines too.
    pub plain_http: bool,
    /// When to send a failed request again.
    pub retry: Retry,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// The environment in which the client finds files and helpers.
    pub environment: Environment,
}

/// Timeouts.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// The longest time to wait for a connection.
    pub connect: Duration,
    /// The longest time without a byte moving in either direction.
    pub stall: Duration,
    /// The least speed at which a registry checks a blob that it was sent, in bytes a second. It
    /// may read the blob once more before it answers.
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
    /// Returns the defaults, with the environment of this process.
    pub fn from_environment() -> Options {
        Options::new(Environment::from_process())
    }

    /// Returns the defaults, with `environment`.
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

/// The environment variables that this crate reads.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the directory of docker's config.json.
    pub docker_config: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`: if set, the only credentials file.
    pub registry_auth_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub xdg_cache_home: Option<PathBuf>,
    /// `PATH`, to find credential helpers.
    pub path: Option<OsString>,
}

impl Environment {
    /// Reads the variables of this process.
    pub(crate) fn from_process() -> Environment {
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

    /// Returns the directory of docker's configuration.
    pub(crate) fn docker_directory(&self) -> Option<PathBuf> {
        self.docker_config
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }

    /// Returns the directory where programs keep their configuration.
    pub(crate) fn config_directory(&self) -> Option<PathBuf> {
        self.xdg_config_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".config")))
    }

    /// Returns the directory for facts about registries. Without it, this crate remembers nothing.
    pub(crate) fn learned_directory(&self) -> Option<PathBuf> {
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
    learned: Learned,
    transports: Mutex<BTreeMap<String, Arc<Transport>>>,
}

impl Client {
    /// Creates a client that reports no progress. It connects with its first request.
    pub fn new(options: Options) -> Client {
        Client::with_progress(options, Arc::new(Silent))
    }

    /// Creates a client that reports to `progress`.
    pub fn with_progress(options: Options, progress: Arc<dyn Progress>) -> Client {
        let learned = Learned::new(options.environment.learned_directory());
        Client {
            shared: Arc::new(Shared {
                options,
                progress,
                learned,
                transports: Mutex::default(),
            }),
        }
    }

    /// Opens the repository that `reference` names.
    ///
    /// # Errors
    /// Fails if the certificates that are configured for its registry cannot be read.
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

    pub(crate) fn learned(&self) -> &Learned {
        &self.shared.learned
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.shared.progress
    }
}

/// Runs `future` to completion on a new runtime, for callers that have none.
///
/// # Panics
/// Panics if the operating system provides no thread or event queue.
pub fn run<F: Future>(future: F) -> F::Output {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
    run_on(Builder::new_multi_thread().worker_threads(threads), future)
}

/// Like [`run`], but on the caller's thread alone. It starts a millisecond sooner, and suits a
/// future that mostly waits for a registry, such as a push.
///
/// # Panics
/// Panics if the operating system provides no event queue.
pub fn run_on_this_thread<F: Future>(future: F) -> F::Output {
    run_on(&mut Builder::new_current_thread(), future)
}

fn run_on<F: Future>(builder: &mut Builder, future: F) -> F::Output {
    let runtime = builder.enable_all().build();
    let runtime = runtime.expect("threads and an event queue for network connections");
    let output = runtime.block_on(future);
    // Only idle connections are left; do not wait for them.
    runtime.shutdown_background();
    output
}
