//! A node without k3s. It starts the gateway first, then its supervisors, and ends them in reverse
//! order.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fleet::{Backoff, Client, local_url};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::info;

use crate::bundle::Bundle;
use crate::files::{self, private_directory};
use crate::options::{NodeOptions, Options};
use crate::processes::Processes;
use crate::program::Program;
use crate::state::Node;

const GATEWAY: &str = "gateway";

/// The time within which the gateway must be ready.
const START_TIME: Duration = Duration::from_secs(30);

// Container runtimes give 10 seconds by default before they kill everything. The sum of these is
// less.
const WORKLOAD_GRACE: &str = "3s";
const SUPERVISOR_GRACE: Duration = Duration::from_secs(6);
const GATEWAY_DRAIN: &str = "2s";
const GATEWAY_GRACE: Duration = Duration::from_secs(3);

/// Runs until a signal, or until a part of the node ends by itself.
///
/// # Errors
/// When the bundle is damaged, or a part can't be started or ends by itself. All other parts were
/// ended then.
pub(crate) async fn run(options: &Options, bundle: &Bundle) -> anyhow::Result<()> {
    let mut ending = ending()?;
    let parts = tokio::select! {
        parts = prepare(&options.node, bundle) => parts?,
        _ = &mut ending => {
            info!("ended before it started");
            return Ok(());
        }
    };
    let mut node = RunningNode {
        options,
        parts,
        processes: Processes::new(),
    };
    let ran = tokio::select! {
        ran = node.run() => ran,
        _ = &mut ending => Ok(()),
    };
    node.end().await;
    ran
}

/// The gateway and the supervisor, unpacked.
struct Parts {
    /// Held as long as this node runs, because another node would unpack over its programs.
    _lock: File,
    data_dir: PathBuf,
    gateway: Program,
    supervisor: Program,
}

async fn prepare(options: &NodeOptions, bundle: &Bundle) -> anyhow::Result<Parts> {
    ensure!(
        options.listen.port() != 0,
        "--listen: the gateway needs a port that supervisors know"
    );
    let data_dir = std::path::absolute(options.node_data_dir())?;
    private_directory(&data_dir)?;
    let lock = files::lock(&data_dir.join("lock"))?;
    Node::forget(&data_dir);
    let bundle = bundle.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        let roots = data_dir.join("rootfs");
        files::remove_tree(&roots)?;
        let root = |name: &str| roots.join(name);
        anyhow::Ok(Parts {
            _lock: lock,
            gateway: Program::take_out(&bundle.gateway, &root("gateway"))?,
            supervisor: Program::take_out(&bundle.supervisor, &root("supervisor"))?,
            data_dir,
        })
    });
    unpacked.await?
}

struct RunningNode<'a> {
    options: &'a Options,
    parts: Parts,
    processes: Processes,
}

impl RunningNode<'_> {
    /// Starts all parts, and returns when one of them ends.
    async fn run(&mut self) -> anyhow::Result<()> {
        let url = local_url(self.options.node.listen, false);
        self.processes.start(GATEWAY, self.gateway())?;
        self.wait_for_gateway(&Client::new(&url, None)?).await?;
        let mut supervisors = Vec::new();
        for number in 1..=self.options.node.supervisors {
            let name = format!("supervisor-{number}");
            self.processes.start(&name, self.supervisor(&name, &url)?)?;
            supervisors.push(name);
        }
        info!(gateway = url, supervisors = supervisors.len(), "node runs");
        let node = Node {
            gateway: url,
            supervisors,
        };
        node.write(&self.parts.data_dir)?;
        let (name, status) = self.processes.next_end().await;
        bail!("{name} ended by itself: {status}")
    }

    async fn wait_for_gateway(&mut self, client: &Client) -> anyhow::Result<()> {
        let ready = async {
            let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
            while client.ready().await.is_err() {
                tokio::time::sleep(backoff.next_delay()).await;
            }
        };
        tokio::select! {
            ready = tokio::time::timeout(START_TIME, ready) => {
                ready.with_context(|| format!("the gateway is not ready after {START_TIME:?}"))
            }
            (name, status) = self.processes.next_end() => bail!("{name} did not start: {status}"),
        }
    }

    /// Ends the supervisors first, so that their last report still finds the gateway.
    async fn end(mut self) {
        info!("node ends");
        Node::forget(&self.parts.data_dir);
        let is_supervisor = |name: &str| name != GATEWAY;
        self.processes.end(is_supervisor, SUPERVISOR_GRACE).await;
        self.processes.end(|_| true, GATEWAY_GRACE).await;
        info!("node ended");
    }

    fn gateway(&self) -> Command {
        let mut command = self.parts.gateway.command();
        command
            .env("GATEWAY_LISTEN", self.options.node.listen.to_string())
            .env("GATEWAY_DRAIN_TIMEOUT", GATEWAY_DRAIN);
        self.with_logs(command)
    }

    fn supervisor(&self, name: &str, gateway: &str) -> anyhow::Result<Command> {
        let mut command = self.parts.supervisor.command();
        command
            .env("SUPERVISOR_NAME", name)
            .env("SUPERVISOR_GATEWAY", gateway)
            .env("SUPERVISOR_GRACE", WORKLOAD_GRACE)
            .env("SUPERVISOR_RESTART", "always")
            .env(
                "SUPERVISOR_STATUS_SOCKET",
                socket(&self.parts.data_dir, name),
            )
            .arg("--")
            .arg(std::env::current_exe().context("can't find this program")?)
            .arg("workload");
        Ok(self.with_logs(command))
    }

    /// Makes a part log as the node does.
    fn with_logs(&self, mut command: Command) -> Command {
        command.envs(self.options.logs.environment());
        command
    }
}

fn socket(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(format!("{name}.sock"))
}

/// Returns a channel that reports SIGTERM or SIGINT. From now on they do not kill this process.
fn ending() -> anyhow::Result<oneshot::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(());
    });
    Ok(receiver)
}
