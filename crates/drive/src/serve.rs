//! A client of `nix-store --serve --write`, a process of Nix that answers one request after
//! another.
//!
//! Nix's ssh stores use this protocol. Numbers have eight bytes, little-endian. Strings begin with
//! their length and are padded to eight bytes. Messages of Nix come on standard error as JSON lines
//! (`--log-format internal-json`), so that a builder's output arrives unchanged.
//!
//! This client supports versions 2.5 (of 2015) to 2.7. The replies that it uses are the same from
//! Nix 2.8 to 2.34.

mod log;
mod wire;

use self::wire::{Message, Streams};
use crate::{Result, scratch};
use crateyard_nix::{Recipe, Store, environment, process};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

pub use self::log::Said;

const MAGIC_OF_CLIENT: u64 = 0x390c_9deb;
const MAGIC_OF_SERVER: u64 = 0x5452_eecb;
const VERSION: u64 = 0x207;

const QUERY_VALID_PATHS: u64 = 1;
const BUILD_PATHS: u64 = 6;
const BUILD_DERIVATION: u64 = 8;

/// The statuses of success: built, substituted, already valid, resolved to a valid one.
const SUCCESSES: [u64; 4] = [0, 1, 2, 13];

/// The settings for starting Nix.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The program `nix-store`.
    pub program: PathBuf,
    /// The store.
    pub store: Store,
    /// The value of `NIX_CONFIG`.
    pub config: String,
    /// Additional arguments, such as `--option NAME VALUE`.
    pub arguments: Vec<String>,
    /// Whether to keep the directories of failed builds.
    pub keep_failed: bool,
    /// Whether processes access the store directly. A daemon builds only derivations in the store,
    /// unless it trusts the user.
    pub is_direct: bool,
    /// The size limit of builders' directories in memory, in bytes. `None` for the disk; see
    /// [`scratch`].
    pub memory: Option<u64>,
    /// Whether Nix has a setting for the builders' directory.
    pub has_build_dir: bool,
}

impl Launch {
    /// Returns the same settings, with the builders' directories on the disk.
    pub fn on_disk(&self) -> Self {
        Self {
            memory: None,
            ..self.clone()
        }
    }

    /// Whether a cache is a bucket, which needs credentials. Builders do not see these, because Nix
    /// clears their environment.
    pub(crate) fn has_bucket(&self) -> bool {
        self.config.contains("s3://")
    }

    /// Starts a process that builds one derivation at a time with `cores` cores. Call it from a
    /// thread that lives as long as the process is needed.
    ///
    /// # Errors
    /// Fails if the process can't be started.
    pub fn start(&self, cores: usize, downloads: usize) -> Result<Server> {
        match self.try_to_start(cores, downloads) {
            Err(_) if self.memory.is_some() => self.on_disk().try_to_start(cores, downloads),
            started => started,
        }
    }

    fn try_to_start(&self, cores: usize, downloads: usize) -> Result<Server> {
        let mut command = match self.has_bucket() {
            true => environment::with_credentials(&self.program),
            false => environment::nix(&self.program),
        };
        command.args(["--serve", "--write", "--log-format", "internal-json"]);
        self.store.name_in(&mut command);
        command.args(&self.arguments);
        command.args(["--option", "builders", ""]);
        command.args(["--option", "max-jobs", &downloads.max(1).to_string()]);
        command.args(["--option", "cores", &cores.to_string()]);
        command.env("NIX_CONFIG", &self.config);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        if let Some(size) = self.memory {
            scratch::use_memory(&mut command, size, self.has_build_dir);
        }
        process::end_with_parent(&mut command);
        process::shield_from_terminal(&mut command);
        let start = crateyard_nix::Error::start(&self.program);
        let mut child = command.spawn().map_err(&start)?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(input), Some(output), Some(errors)) => Ok(Server {
                streams: Streams::new(input, output, errors),
                child,
                version: 0,
                keep_failed: self.keep_failed,
                is_direct: self.is_direct,
            }),
            _ => Err(start(io::ErrorKind::BrokenPipe.into()).into()),
        }
    }
}

/// The result of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    /// The outputs are valid.
    Done,
    /// The build failed.
    Failed {
        /// Nix's reason.
        message: String,
    },
}

/// A running process.
pub struct Server {
    child: Child,
    streams: Streams,
    version: u64,
    keep_failed: bool,
    is_direct: bool,
}

impl Server {
    /// Returns the process id, for stopping the process from another thread.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Agrees on a version. Call it once, before anything else.
    ///
    /// # Errors
    /// Fails if the process does not speak a supported version of the protocol.
    pub fn greet(&mut self) -> Result<()> {
        self.streams.send(&[MAGIC_OF_CLIENT, VERSION], &[])?;
        let mut quiet = |_| {};
        if self.streams.number(&mut quiet)? != MAGIC_OF_SERVER {
            return Err(self.streams.broken("it does not speak the serve protocol"));
        }
        self.version = self.streams.number(&mut quiet)?.min(VERSION);
        if self.version >> 8 != VERSION >> 8 {
            return Err(self
                .streams
                .broken("its version of the protocol is not supported"));
        }
        Ok(())
    }

    /// Returns which of some paths are valid. All of them, valid or not, are protected from garbage
    /// collection while this process lives. With `substitute`, Nix first fetches paths that its
    /// caches have.
    ///
    /// # Errors
    /// Fails if the process does not answer.
    pub(crate) fn valid_paths<'a>(
        &mut self,
        paths: impl IntoIterator<Item = &'a str>,
        substitute: bool,
        said: &mut dyn FnMut(Said),
    ) -> Result<BTreeSet<String>> {
        let lock = 1;
        let mut message = Message::default();
        message.number(QUERY_VALID_PATHS);
        message.number(lock);
        message.number(substitute.into());
        message.strings(paths);
        self.streams.write(&message.bytes)?;
        let count = self.streams.number(said)?;
        let found = (0..count).map(|_| self.streams.string(said)).collect();
        self.streams.drain(said);
        found
    }

    /// Builds all outputs of a derivation. All its inputs must be valid.
    ///
    /// # Errors
    /// Fails if the process does not answer. A build that fails is not an error.
    pub fn build(&mut self, recipe: &Recipe, said: &mut dyn FnMut(Said)) -> Result<Built> {
        // If the request only names a path, Nix starts its hook for remote builders for each build,
        // even without such builders, and reads all inputs' `.drv` files again.
        let built = match self.is_direct && recipe.is_text() {
            true => self.build_derivation(recipe, said),
            false => self.build_path(recipe, said),
        };
        self.streams.drain(said);
        built
    }

    fn build_path(&mut self, recipe: &Recipe, said: &mut dyn FnMut(Said)) -> Result<Built> {
        let outputs: Vec<&str> = recipe
            .derivation
            .outputs
            .keys()
            .map(String::as_str)
            .collect();
        let mut message = Message::default();
        message.number(BUILD_PATHS);
        message.strings([format!("{}!{}", recipe.path, outputs.join(",")).as_str()]);
        message.settings(self.minor(), self.keep_failed);
        self.streams.write(&message.bytes)?;
        Ok(match self.streams.number(said)? {
            0 => Built::Done,
            _ => Built::Failed {
                message: self.streams.string(said)?,
            },
        })
    }

    /// Builds with the request of build farms, which contains the derivation.
    fn build_derivation(&mut self, recipe: &Recipe, said: &mut dyn FnMut(Said)) -> Result<Built> {
        let mut message = Message::default();
        message.number(BUILD_DERIVATION);
        message.string(&recipe.path);
        message.derivation(recipe);
        message.settings(self.minor(), self.keep_failed);
        self.streams.write(&message.bytes)?;
        let status = self.streams.number(said)?;
        let message = self.streams.string(said)?;
        self.skip_statistics(said)?;
        Ok(match SUCCESSES.contains(&status) {
            true => Built::Done,
            false => Built::Failed { message },
        })
    }

    /// Skips the numbers about how often and when it was built, and the outputs, which are known.
    fn skip_statistics(&mut self, said: &mut dyn FnMut(Said)) -> Result<()> {
        if self.minor() >= 3 {
            let numbers = ["times built", "not deterministic", "start", "end"];
            for _ in numbers {
                self.streams.number(said)?;
            }
        }
        if self.minor() >= 6 {
            for _ in 0..self.streams.number(said)? {
                let (_name, _realisation) =
                    (self.streams.string(said)?, self.streams.string(said)?);
            }
        }
        Ok(())
    }

    fn minor(&self) -> u64 {
        self.version & 0xff
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        process::stop(&mut self.child, Duration::from_secs(10));
    }
}
