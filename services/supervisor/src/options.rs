//! The command line and the environment variables.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fleet::duration::{parse, parse_positive};
use fleet::logs::LogOptions;
use fleet::workload::Workload;

use crate::policy::Policy;

/// Process 1 of a sandbox: runs a command and keeps it running
#[derive(Parser, Clone, Debug)]
#[command(version, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    /// What to do instead of supervising.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// How to supervise.
    #[command(flatten)]
    pub supervise: SuperviseOptions,

    /// How to log.
    #[command(flatten)]
    pub logs: LogOptions,
}

/// What the supervisor does besides supervising.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Action {
    /// Ask the supervisor of this sandbox whether its command runs; exit code 0 or 1
    Health,
    /// Print the state of this sandbox's supervisor as JSON
    Status,
    /// Be a small command to supervise, for trying things out
    Workload(Workload),
}

/// How to supervise.
#[derive(Args, Clone, Debug)]
pub(crate) struct SuperviseOptions {
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// When to start the command again
    #[arg(
        long,
        env = "SUPERVISOR_RESTART",
        value_enum,
        default_value = "on-failure"
    )]
    pub restart: Policy,

    /// Give up after this many restarts in a row; without it, never
    #[arg(long, env = "SUPERVISOR_MAX_RESTARTS")]
    pub max_restarts: Option<u32>,

    /// Wait this long before the first restart, then twice as long each time
    #[arg(long, env = "SUPERVISOR_BACKOFF_INITIAL", value_parser = parse, default_value = "500ms")]
    pub backoff_initial: Duration,

    /// Wait at most this long before a restart
    #[arg(long, env = "SUPERVISOR_BACKOFF_MAX", value_parser = parse, default_value = "30s")]
    pub backoff_max: Duration,

    /// A command that ran for this long was well: restarts are counted, and waits grow, from the
    /// start again
    #[arg(long, env = "SUPERVISOR_BACKOFF_RESET", value_parser = parse, default_value = "1m")]
    pub backoff_reset: Duration,

    /// How long the command has to end after SIGTERM, SIGINT or SIGQUIT, before SIGKILL
    #[arg(long, env = "SUPERVISOR_GRACE", value_parser = parse, default_value = "8s")]
    pub grace: Duration,

    /// Report to the gateway at this address, such as http://gateway:8080
    #[arg(long, env = "SUPERVISOR_GATEWAY")]
    pub gateway: Option<String>,

    /// Trust the certificates in this PEM file, instead of the system's, when talking to the
    /// gateway
    #[arg(long, env = "SUPERVISOR_GATEWAY_CA", requires = "gateway")]
    pub gateway_ca: Option<PathBuf>,

    /// The name to register under; the host's name if not given
    #[arg(long, env = "SUPERVISOR_NAME")]
    pub name: Option<String>,

    /// Wait at most this long for the gateway when it can't be reached
    #[arg(
        long,
        env = "SUPERVISOR_REPORT_BACKOFF_MAX",
        value_parser = parse_positive,
        default_value = "30s"
    )]
    pub report_backoff_max: Duration,

    /// The socket that tells the state to `supervisor health` and `supervisor status`
    #[arg(
        long,
        env = "SUPERVISOR_STATUS_SOCKET",
        default_value = "/tmp/supervisor.sock",
        global = true
    )]
    pub status_socket: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_command_is_taken_as_it_is() {
        let line = [
            "supervisor",
            "--grace=1s",
            "--",
            "app",
            "--grace",
            "--",
            "-x",
        ];
        let options = Options::try_parse_from(line).unwrap();
        assert_eq!(options.supervise.command, ["app", "--grace", "--", "-x"]);
        assert_eq!(options.supervise.grace, Duration::from_secs(1));
    }

    #[test]
    fn a_command_is_needed_only_for_supervising() {
        assert!(Options::try_parse_from(["supervisor"]).is_err());
        let health = Options::try_parse_from(["supervisor", "health"]).unwrap();
        assert!(matches!(health.action, Some(Action::Health)));
    }

    /// `deploy/config/supervisor.env` names every variable. The lines that are not commented out
    /// have the default values.
    #[test]
    fn the_settings_file_is_complete() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/config/supervisor.env"
        );
        let text = std::fs::read_to_string(path).unwrap();
        for argument in Options::command().get_arguments() {
            let Some(variable) = argument.get_env() else {
                continue;
            };
            let variable = variable.to_str().unwrap();
            let line = match argument.get_default_values() {
                [] => format!("#{variable}="),
                [default, ..] => format!("{variable}={}\n", default.to_str().unwrap()),
            };
            assert!(text.contains(&line), "no {line} in {path}");
        }
    }
}
