//! The command line and the environment variables.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use fleet::logs::LogOptions;
use fleet::workload::Workload;

/// A node in one image: starts k3s, or the gateway and its supervisors
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub(crate) struct Options {
    /// What to do instead of starting the node.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// How to be a node.
    #[command(flatten)]
    pub node: NodeOptions,

    /// How to log.
    #[command(flatten)]
    pub logs: LogOptions,
}

/// What the program does besides starting a node.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Action {
    /// Ask whether all of this node runs; exit code 0 or 1
    Health,
    /// Be the small command that this node's supervisors supervise
    Workload(Workload),
}

/// How to be a node. `cluster health` reads the same, to know what to ask for.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeOptions {
    /// What the image brings: gateway.tar, supervisor.tar, charts/*.tgz, manifests/*.yaml
    #[arg(
        long,
        env = "CLUSTER_BUNDLE",
        default_value = "/var/lib/crateyard/bundle",
        global = true
    )]
    pub bundle: PathBuf,

    /// Where the node writes: /var/lib/rancher/k3s with k3s, /tmp/crateyard without, if not given
    #[arg(long, env = "CLUSTER_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,

    /// The k3s executable; if not given, it is looked for in PATH and at /bin/k3s
    #[arg(long, env = "CLUSTER_K3S", value_name = "PATH", global = true)]
    pub k3s: Option<PathBuf>,

    /// Without k3s: address and port of the gateway
    #[arg(
        long,
        env = "CLUSTER_LISTEN",
        default_value = "0.0.0.0:8080",
        global = true
    )]
    pub listen: SocketAddr,

    /// Without k3s: how many supervisors to start
    #[arg(long, env = "CLUSTER_SUPERVISORS", default_value_t = 2, global = true)]
    pub supervisors: u16,

    /// With k3s: arguments for `k3s server`, after --
    #[arg(last = true, value_name = "ARGUMENT")]
    pub k3s_arguments: Vec<OsString>,
}

impl NodeOptions {
    /// Returns the directory that a node without k3s writes to.
    pub(crate) fn node_data_dir(&self) -> PathBuf {
        self.data_dir_or("/tmp/crateyard")
    }

    /// Returns the directory that k3s writes to.
    pub(crate) fn k3s_data_dir(&self) -> PathBuf {
        self.data_dir_or("/var/lib/rancher/k3s")
    }

    fn data_dir_or(&self, default: &str) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| default.into())
    }
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
    fn k3s_arguments_are_taken_as_they_are() {
        let line = [
            "cluster",
            "--k3s=/k3s",
            "--",
            "--disable=traefik",
            "--",
            "-v",
        ];
        let options = Options::try_parse_from(line).unwrap().node;
        assert_eq!(options.k3s_arguments, ["--disable=traefik", "--", "-v"]);
    }

    /// `deploy/config/cluster.env` names every variable. The lines that are not commented out have
    /// the default values.
    #[test]
    fn the_settings_file_is_complete() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/config/cluster.env"
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
