//! Options of all commands that talk to registries, and the progress that these commands show.

use std::collections::HashMap;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use crateyard_oci::Digest;
use crateyard_registry::progress::{Event, Progress};
use crateyard_registry::{Client, ClientCertificate, Credentials, Options};
use crateyard_terminal as text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Options for a connection to a registry.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Registry options")]
pub struct ConnectionArgs {
    /// Log in as this user, with the password from --password-stdin
    ///
    /// Without it, credentials come from the files and helpers of docker and podman.
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,

    /// Read the password or access token from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// Also trust this certificate authority (PEM); may be repeated
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,

    /// Show this client certificate (PEM) to registries that ask for one
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The client certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Speak plain HTTP to a registry that is not on this machine
    #[arg(long)]
    plain_http: bool,

    /// How many times to retry a request after a temporary failure
    #[arg(long, value_name = "N", default_value_t = 7)]
    retries: u32,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

impl ConnectionArgs {
    /// Returns a client with these options. It shows its progress on standard error.
    pub fn client(&self) -> anyhow::Result<(Client, Arc<Display>)> {
        Ok(self.client_of(self.options()?))
    }

    /// Returns the certificate authorities to trust in addition to the system's.
    pub fn authorities(&self) -> &[PathBuf] {
        &self.ca_file
    }

    /// Returns a client that gives up soon, for requests that are not essential.
    pub fn impatient_client(&self) -> anyhow::Result<Client> {
        let mut options = self.options()?;
        options.timeouts.connect = Duration::from_secs(5);
        options.timeouts.stall = Duration::from_secs(10);
        options.retry.attempts = options.retry.attempts.min(2);
        Ok(self.client_of(options).0)
    }

    fn client_of(&self, options: Options) -> (Client, Arc<Display>) {
        let display = Arc::new(Display::new(self.quiet));
        (Client::with_progress(options, display.clone()), display)
    }

    fn options(&self) -> anyhow::Result<Options> {
        let mut options = Options::from_environment();
        options.credentials = self.credentials()?;
        options.ca_files = self.ca_file.clone();
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            options.client_certificate = Some(ClientCertificate {
                certificate: certificate.clone(),
                key: key.clone(),
            });
        }
        options.plain_http = self.plain_http;
        options.retry.attempts = self.retries.saturating_add(1);
        Ok(options)
    }

    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let Some(username) = &self.username else {
            return Ok(None);
        };
        let mut password = String::new();
        std::io::stdin()
            .read_to_string(&mut password)
            .context("cannot read the password from standard input")?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        if password.is_empty() {
            bail!("standard input holds no password\n  try: --password-stdin < FILE");
        }
        Ok(Some(Credentials::Password {
            username: username.clone(),
            password,
        }))
    }
}

/// Shows a transfer: a bar on terminals, and lines for retries and notices on standard error.
pub struct Display {
    bar: ProgressBar,
    blobs: Mutex<Blobs>,
}

/// The progress of each blob. A retry resets it.
#[derive(Default)]
struct Blobs {
    under_way: HashMap<Digest, (u64, u64)>,
    done: u64,
}

impl Blobs {
    fn position(&self) -> u64 {
        self.done
            + self
                .under_way
                .values()
                .map(|(position, _)| position)
                .sum::<u64>()
    }
}

impl Display {
    fn new(is_quiet: bool) -> Display {
        let is_shown = !is_quiet && std::io::stderr().is_terminal();
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Display {
            bar,
            blobs: Mutex::default(),
        }
    }

    /// Sets the label of the bar.
    pub fn begin(&self, what: &str) {
        *self.blobs() = Blobs::default();
        self.bar.set_message(text::clean(what).into_owned());
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: &str) {
        self.bar
            .suspend(|| text::log(&format!("{}\n", text::clean(line))));
    }

    fn blobs(&self) -> std::sync::MutexGuard<'_, Blobs> {
        self.blobs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Display {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Start { bytes, .. } => {
                self.bar.reset();
                self.bar.set_length(bytes);
            }
            Event::Blob {
                digest,
                offset,
                size,
            } => {
                self.blobs()
                    .under_way
                    .insert(digest.clone(), (offset, size));
            }
            Event::Bytes { digest, bytes } => {
                let mut blobs = self.blobs();
                if let Some((position, _)) = blobs.under_way.get_mut(digest) {
                    *position += bytes;
                }
                self.bar.set_position(blobs.position());
            }
            Event::Done { digest, .. } => {
                let mut blobs = self.blobs();
                if let Some((_, size)) = blobs.under_way.remove(digest) {
                    blobs.done += size;
                }
                self.bar.set_position(blobs.position());
            }
            Event::Retry(retry) => {
                let asked = if retry.asked {
                    ", as the registry asks"
                } else {
                    ""
                };
                self.say(&format!(
                    "warning: {}: {}; trying again in {:.1} s{asked} (attempt {} of {} failed)",
                    retry.request,
                    retry.cause,
                    retry.wait.as_secs_f64(),
                    retry.attempt,
                    retry.attempts
                ));
            }
            Event::Notice { message } => self.say(&format!("note: {message}")),
            _ => {}
        }
    }
}

/// Formats a number of bytes for people: `12.3 MB`.
pub fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// Parses a size: `4194304`, `4096k` or `4M` (binary multiples).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a size such as 4194304, 4096k or 4M"))?;
    match number.checked_mul(factor) {
        Some(size) if size > 0 => Ok(size),
        _ => Err(format!("{text:?} is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse_size("4M"), Ok(4 << 20));
        assert_eq!(parse_size("123"), Ok(123));
        for odd in ["", "M", "-1", "0", "99999999999G", "4MB"] {
            assert!(parse_size(odd).is_err(), "{odd}");
        }
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(5_368_709_120), "5.4 GB");
    }
}
