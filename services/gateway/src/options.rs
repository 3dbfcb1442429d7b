//! The command line and the environment variables.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fleet::duration::{parse, parse_positive};
use fleet::logs::LogOptions;

/// The HTTP API where supervisors register, report and are listed
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub(crate) struct Options {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// How to serve.
    #[command(flatten)]
    pub serve: ServeOptions,

    /// How to log.
    #[command(flatten)]
    pub logs: LogOptions,
}

/// What the gateway does besides serving.
#[derive(Subcommand, Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Ask the gateway that listens on this machine whether it is well; exit code 0 or 1
    Health,
}

/// How to serve. `gateway health` reads the same, to know where to ask.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeOptions {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(
        long,
        env = "GATEWAY_LISTEN",
        default_value = "0.0.0.0:8080",
        global = true
    )]
    pub listen: SocketAddr,

    /// Certificate chain in PEM; with it, only HTTPS is served. Read again on SIGHUP
    #[arg(long, env = "GATEWAY_TLS_CERT", requires = "tls_key", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM
    #[arg(long, env = "GATEWAY_TLS_KEY", requires = "tls_cert", global = true)]
    pub tls_key: Option<PathBuf>,

    /// How often supervisors shall report
    #[arg(long, env = "GATEWAY_HEARTBEAT", value_parser = parse_positive, default_value = "10s")]
    pub heartbeat: Duration,

    /// Drop a supervisor that was silent for this long; more than the heartbeat
    #[arg(long, env = "GATEWAY_EXPIRE_AFTER", value_parser = parse_positive, default_value = "35s")]
    pub expire_after: Duration,

    /// Know at most this many supervisors
    #[arg(long, env = "GATEWAY_CAPACITY", default_value_t = 10_000)]
    pub capacity: usize,

    /// After a signal to end, go on serving for this long with /readyz at 503, so that load
    /// balancers notice
    #[arg(long, env = "GATEWAY_DRAIN_DELAY", value_parser = parse, default_value = "0s")]
    pub drain_delay: Duration,

    /// How long requests that have begun may take after that
    #[arg(long, env = "GATEWAY_DRAIN_TIMEOUT", value_parser = parse, default_value = "20s")]
    pub drain_timeout: Duration,
}

impl ServeOptions {
    /// Returns the address of this machine's own gateway.
    pub(crate) fn local_url(&self) -> String {
        fleet::local_url(self.listen, self.tls_cert.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn url(arguments: &[&str]) -> String {
        let all = ["gateway"].iter().chain(arguments);
        Options::try_parse_from(all).unwrap().serve.local_url()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_local_address() {
        assert_eq!(url(&["--listen", "0.0.0.0:81"]), "http://127.0.0.1:81");
        assert_eq!(url(&["--listen", "[::]:81"]), "http://[::1]:81");
        assert_eq!(url(&["--listen", "10.0.0.1:81"]), "http://10.0.0.1:81");
        let tls = ["--listen=0.0.0.0:443", "--tls-cert=c", "--tls-key=k"];
        assert_eq!(url(&tls), "https://127.0.0.1:443");
        assert_eq!(url(&["health", "--listen=0.0.0.0:9"]), "http://127.0.0.1:9");
    }

    #[test]
    fn a_certificate_needs_its_key() {
        assert!(Options::try_parse_from(["gateway", "--tls-cert=c"]).is_err());
        assert!(Options::try_parse_from(["gateway", "--tls-key=k"]).is_err());
    }

    /// `deploy/config/gateway.env` names every variable. The lines that are not commented out have
    /// the default values.
    #[test]
    fn the_settings_file_is_complete() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/config/gateway.env"
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
