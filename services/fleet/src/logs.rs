//! Logs on standard error, for people or for machines.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

const FORMAT_VARIABLE: &str = "CRATEYARD_LOG_FORMAT";
const LEVEL_VARIABLE: &str = "CRATEYARD_LOG_LEVEL";

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// The options for logs, the same for every service.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// How log lines look
    #[arg(
        long,
        env = FORMAT_VARIABLE,
        value_enum,
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,

    /// What to log: a level, or directives such as `info,gateway=debug`
    #[arg(
        long,
        env = LEVEL_VARIABLE,
        default_value = "info",
        global = true
    )]
    pub log_level: String,
}

impl LogOptions {
    /// Sends all events of this process to standard error from now on.
    ///
    /// # Errors
    /// When the level can't be understood, or logs were started before.
    pub fn start(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log_level)
            .map_err(|error| anyhow::anyhow!("--log-level {:?}: {error}", self.log_level))?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        let started = match self.log_format {
            LogFormat::Text => lines.try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| anyhow::anyhow!("can't start logs: {error}"))
    }

    /// Returns the environment that makes another service log in the same way.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        [
            (FORMAT_VARIABLE, format.to_owned()),
            (LEVEL_VARIABLE, self.log_level.clone()),
        ]
    }
}
