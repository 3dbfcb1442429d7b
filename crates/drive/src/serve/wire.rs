//! The bytes of requests and answers, and the streams that carry them.

use super::log::{Said, understand};
use crate::{Error, Result};
use crateyard_nix::Recipe;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

/// The length limit of strings, in bytes. Nix sends no longer ones.
const MAX_STRING: u64 = 1 << 28;

/// A request.
#[derive(Default)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
}

impl Message {
    pub(super) fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend(text.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    pub(super) fn strings<'a>(&mut self, list: impl IntoIterator<Item = &'a str>) {
        let list: Vec<&str> = list.into_iter().collect();
        self.number(list.len() as u64);
        list.iter().for_each(|text| self.string(text));
    }

    pub(super) fn derivation(&mut self, recipe: &Recipe) {
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
    pub(super) fn settings(&mut self, minor: u64, keep_failed: bool) {
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
pub(super) struct Streams {
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
    pub(super) fn new(input: ChildStdin, output: ChildStdout, errors: ChildStderr) -> Self {
        Self {
            input,
            output,
            errors,
            received: Vec::new(),
            line: Vec::new(),
            log: String::new(),
        }
    }

    pub(super) fn send(&mut self, numbers: &[u64], strings: &[&str]) -> Result<()> {
        let mut message = Message::default();
        numbers.iter().for_each(|&number| message.number(number));
        strings.iter().for_each(|text| message.string(text));
        self.write(&message.bytes)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.input.write_all(bytes);
        let written = written.and_then(|()| self.input.flush());
        written.map_err(|error| {
            self.drain(&mut |_| {});
            self.broken(&error.to_string())
        })
    }

    pub(super) fn broken(&self, reason: &str) -> Error {
        Error::Broken {
            reason: reason.to_owned(),
            log: self.log.clone(),
        }
    }

    pub(super) fn number(&mut self, said: &mut dyn FnMut(Said)) -> Result<u64> {
        let bytes = self.take(8, said)?;
        let mut number = [0; 8];
        number.copy_from_slice(&bytes);
        Ok(u64::from_le_bytes(number))
    }

    pub(super) fn string(&mut self, said: &mut dyn FnMut(Said)) -> Result<String> {
        let length = self.number(said)?;
        if length > MAX_STRING {
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
                None if text.starts_with(crateyard_nix::log::PREFIX) => {}
                None => self.log += &format!("{text}\n"),
            }
        }
        count > 0
    }

    /// Reads the log up to now, because a builder's last lines come before the answer.
    pub(super) fn drain(&mut self, said: &mut dyn FnMut(Said)) {
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
}
