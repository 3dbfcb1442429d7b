//! A client of `nix-store --serve --write`, a process of Nix that answers one request after
//! another.
//!
//! Nix's ssh stores use this protocol. Numbers have eight bytes, little-endian. Strings begin with
//! their length and are padded to eight bytes. Messages of Nix come on standard error as JSON lines
//! (`--log-format internal-json`), so that a builder's output arrives unchanged.
//!
//! This client supports versions 2.5 (of 2015) to 2.7. The replies that it uses are the same from
//! Nix 2.8 to 2.34.

use crate::{Error, Result, scratch};
use crateyard_nix::{Recipe, Store, environment, process};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

const MAGIC_OF_CLIENT: u64 = 0x390c_9deb;
const MAGIC_OF_SERVER: u64 = 0x5452_eecb;
const VERSION: u64 = 0x207;

const QUERY_VALID_PATHS: u64 = 1;
const BUILD_PATHS: u64 = 6;
const BUILD_DERIVATION: u64 = 8;

/// The statuses of success: built, substituted, already valid, resolved to a valid one.
const SUCCESSES: [u64; 4] = [0, 1, 2, 13];

/// The length limit of strings. Nix sends no longer ones.
const LONGEST_STRING: u64 = 1 << 28;

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
        let start = |source| Error::Start {
            program: self.program.clone(),
            source,
        };
        let mut child = command.spawn().map_err(start)?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(input), Some(output), Some(errors)) => Ok(Server {
                streams: Streams {
                    input,
                    output,
                    errors,
                    received: Vec::new(),
                    line: Vec::new(),
                    log: String::new(),
                },
                child,
                version: 0,
                keep_failed: self.keep_failed,
                is_direct: self.is_direct,
            }),
            _ => Err(start(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// A message of Nix while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line of the builder's output.
    Line(String),
    /// A message of Nix itself.
    Message(String),
    /// Nix begins to copy a store path.
    Copying {
        /// Nix's number for the activity.
        id: u64,
        /// The store path.
        path: String,
        /// The source of the copy.
        from: String,
    },
    /// An activity has ended.
    Over {
        /// Nix's number for the activity.
        id: u64,
    },
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
    pub fn valid_paths<'a>(
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

/// A request.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend(text.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    fn strings<'a>(&mut self, list: impl IntoIterator<Item = &'a str>) {
        let list: Vec<&str> = list.into_iter().collect();
        self.number(list.len() as u64);
        list.iter().for_each(|text| self.string(text));
    }

    fn derivation(&mut self, recipe: &Recipe) {
        let derivation = &recipe.derivation;
        self.number(derivation.outputs.len() as u64);
        for (name, output) in &derivation.outputs {
            let known = [&output.path, &output.hash_algorithm, &output.hash];
            self.string(name);
            known.into_iter().for_each(|text| self.string(text));
        }
        self.strings(recipe.inputs.iter().map(String::as_str));
        self.string(&derivation.system);
        self.string(&derivation.builder);
        self.strings(derivation.args.iter().map(String::as_str));
        self.number(derivation.env.len() as u64);
        for (name, value) in &derivation.env {
            self.string(name);
            self.string(value);
        }
    }

    /// Adds the settings of a build: no limit of time or output, no repeated build.
    fn settings(&mut self, minor: u64, keep_failed: bool) {
        let (silence, time, output) = (0, 0, 0);
        self.number(silence);
        self.number(time);
        if minor >= 2 {
            self.number(output);
        }
        if minor >= 3 {
            let (repeats, enforce) = (0, 0);
            self.number(repeats);
            self.number(enforce);
        }
        if minor >= 7 {
            self.number(keep_failed.into());
        }
    }
}

/// The standard streams of the process. Answers and log are read concurrently, so that neither
/// blocks the process.
struct Streams {
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
    /// The received bytes of the answer.
    received: Vec<u8>,
    /// The incomplete last line of the log.
    line: Vec<u8>,
    /// Messages of the process itself, in case it breaks.
    log: String,
}

impl Streams {
    fn send(&mut self, numbers: &[u64], strings: &[&str]) -> Result<()> {
        let mut message = Message::default();
        numbers.iter().for_each(|&number| message.number(number));
        strings.iter().for_each(|text| message.string(text));
        self.write(&message.bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.input.write_all(bytes);
        let written = written.and_then(|()| self.input.flush());
        written.map_err(|error| {
            self.drain(&mut |_| {});
            self.broken(&error.to_string())
        })
    }

    fn broken(&self, reason: &str) -> Error {
        Error::Broken {
            reason: reason.to_owned(),
            log: self.log.clone(),
        }
    }

    fn number(&mut self, said: &mut dyn FnMut(Said)) -> Result<u64> {
        let bytes = self.take(8, said)?;
        let mut number = [0; 8];
        number.copy_from_slice(&bytes);
        Ok(u64::from_le_bytes(number))
    }

    fn string(&mut self, said: &mut dyn FnMut(Said)) -> Result<String> {
        let length = self.number(said)?;
        if length > LONGEST_STRING {
            return Err(self.broken("it announces a string that is too long"));
        }
        let length = length as usize;
        let mut bytes = self.take(length.next_multiple_of(8), said)?;
        bytes.truncate(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn take(&mut self, count: usize, said: &mut dyn FnMut(Said)) -> Result<Vec<u8>> {
        while self.received.len() < count {
            let [output, errors] = readable([&self.output, &self.errors], -1)
                .map_err(|error| self.broken(&error.to_string()))?;
            if errors {
                self.read_log(said);
            }
            if output && !self.read_answer()? {
                self.drain(said);
                return Err(self.broken("it ended"));
            }
        }
        Ok(self.received.drain(..count).collect())
    }

    /// Returns false at the end of the stream.
    fn read_answer(&mut self) -> Result<bool> {
        let mut buffer = [0; 1 << 14];
        let count = self
            .output
            .read(&mut buffer)
            .map_err(|error| self.broken(&error.to_string()))?;
        self.received.extend(&buffer[..count]);
        Ok(count > 0)
    }

    /// Returns false at the end of the stream.
    fn read_log(&mut self, said: &mut dyn FnMut(Said)) -> bool {
        let mut buffer = [0; 1 << 14];
        let count = self.errors.read(&mut buffer).unwrap_or(0);
        self.line.extend(&buffer[..count]);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line[..end]).into_owned();
            match understand(&text) {
                Some(what) => said(what),
                None if text.starts_with(JSON_LINE) => {}
                None => self.log += &format!("{text}\n"),
            }
        }
        count > 0
    }

    /// Reads the log up to now, because a builder's last lines come before the answer.
    fn drain(&mut self, said: &mut dyn FnMut(Said)) {
        while matches!(readable([&self.errors], 0), Ok([true])) {
            if !self.read_log(said) {
                return;
            }
        }
    }
}

/// Returns which of some streams have data or ended. Waits up to `milliseconds`, or without limit
/// if negative.
fn readable<const N: usize>(
    streams: [&dyn AsRawFd; N],
    milliseconds: i32,
) -> io::Result<[bool; N]> {
    let mut polled = streams.map(|stream| libc::pollfd {
        fd: stream.as_raw_fd() as RawFd,
        events: libc::POLLIN,
        revents: 0,
    });
    loop {
        // SAFETY: the array lives as long as the call, and its length is given.
        let count = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds) };
        if count >= 0 {
            return Ok(polled.map(|stream| stream.revents != 0));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

const JSON_LINE: &str = "@nix ";

/// Nix's numbers for activities and results (`ActivityType` and `ResultType` in its logging.hh).
const COPY_PATH: u64 = 100;
const BUILD_LOG_LINE: u64 = 101;
const POST_BUILD_LOG_LINE: u64 = 107;

/// The level of warnings. Messages of higher levels are only for verbose output.
const LEVEL_OF_WARNINGS: u64 = 1;

#[derive(Deserialize)]
struct Line {
    action: String,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    level: u64,
    #[serde(default, rename = "type")]
    kind: u64,
    #[serde(default)]
    fields: Vec<serde_json::Value>,
    #[serde(default)]
    msg: String,
}

fn understand(text: &str) -> Option<Said> {
    let line: Line = serde_json::from_str(text.strip_prefix(JSON_LINE)?).ok()?;
    let field = |index: usize| Some(line.fields.get(index)?.as_str()?.to_owned());
    match (line.action.as_str(), line.kind) {
        ("result", BUILD_LOG_LINE | POST_BUILD_LOG_LINE) => Some(Said::Line(field(0)?)),
        ("start", COPY_PATH) => Some(Said::Copying {
            id: line.id,
            path: field(0)?,
            from: field(1)?,
        }),
        ("stop", _) => Some(Said::Over { id: line.id }),
        ("msg", _) if line.level <= LEVEL_OF_WARNINGS => Some(Said::Message(line.msg)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_padded_to_eight_bytes() {
        let mut message = Message::default();
        message.strings(["12345678", "1"]);
        let mut expected = vec![2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
        expected.extend(b"12345678");
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, b'1', 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message.bytes, expected);
    }

    #[test]
    fn a_builder_keeps_its_colours() {
        let line =
            r#"@nix {"action":"result","fields":["\u001b[31merror\u001b[0m"],"id":4,"type":101}"#;
        let said = Said::Line("\u{1b}[31merror\u{1b}[0m".into());
        assert_eq!(understand(line), Some(said));
        assert_eq!(
            understand("@nix {\"action\":\"start\",\"id\":1,\"type\":104}"),
            None
        );
        assert_eq!(understand("plain"), None);
    }
}
