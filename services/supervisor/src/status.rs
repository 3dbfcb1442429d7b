//! The state of a supervisor on a unix socket: each connection gets one line of JSON.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use fleet::api::{Report, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

/// The time within which a supervisor must answer. A slower one is stuck.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// The status socket. Its file is removed on drop.
pub(crate) struct StatusSocket {
    path: PathBuf,
}

impl StatusSocket {
    /// Serves the state at `path` from now on. If the socket can't be opened (on a read-only file
    /// system), the supervisor does its job all the same.
    pub(crate) fn open(path: &Path, status: watch::Receiver<Report>) -> Option<Self> {
        match bind(path) {
            Ok(listener) => {
                tokio::spawn(answer(listener, status));
                Some(StatusSocket {
                    path: path.to_owned(),
                })
            }
            Err(error) => {
                let path = path.display();
                warn!(%path, %error, "no status socket: health checks will fail");
                None
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds the socket. Replaces a socket that a killed supervisor left, but never one that answers.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        bound => bound,
    }
}

async fn answer(listener: UnixListener, status: watch::Receiver<Report>) {
    loop {
        let Ok((mut connection, _)) = listener.accept().await else {
            // There are no file descriptors left: others must close theirs first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(mut line) = serde_json::to_vec(&*status.borrow()) else {
            continue;
        };
        line.push(b'\n');
        // A line fits into the socket's buffer, so a slow reader holds nobody up for long.
        let _ = timeout(ANSWER_TIME, connection.write_all(&line)).await;
    }
}

/// `supervisor health`: succeeds with code 0 while the command runs.
///
/// # Errors
/// When the supervisor does not answer, or its command does not run.
pub(crate) async fn health(path: &Path) -> anyhow::Result<u8> {
    let report = ask(path).await?;
    if report.state != State::Running {
        let (state, restarts) = (report.state.as_str(), report.restarts);
        bail!("not healthy: the command is {state}, after {restarts} restarts");
    }
    println!("healthy");
    Ok(0)
}

/// `supervisor status`: prints the state.
///
/// # Errors
/// When the supervisor does not answer.
pub(crate) async fn show(path: &Path) -> anyhow::Result<u8> {
    println!("{}", serde_json::to_string(&ask(path).await?)?);
    Ok(0)
}

async fn ask(path: &Path) -> anyhow::Result<Report> {
    let read = async {
        let mut connection = tokio::net::UnixStream::connect(path).await?;
        let mut line = Vec::new();
        connection.read_to_end(&mut line).await?;
        anyhow::Ok(serde_json::from_slice(&line)?)
    };
    let answer = timeout(ANSWER_TIME, read)
        .await
        .context("it takes too long");
    answer
        .and_then(|report| report)
        .with_context(|| format!("no supervisor tells its state at {}", path.display()))
}
