//! Reports the supervisor's state to the gateway. The reporter runs beside the main job and never
//! holds it up: it only watches the state, and while the gateway is away it waits and tries again.

use std::time::Duration;

use anyhow::Context;
use fleet::api::{Registration, Report, State};
use fleet::{Backoff, Client, ClientError};
use tokio::sync::watch;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::options::SuperviseOptions;

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The shortest heartbeat that a gateway can ask for.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(50);

/// A supervisor, as its gateway knows it.
pub(crate) struct Reporter {
    client: Client,
    id: Uuid,
    registration: Registration,
    status: watch::Receiver<Report>,
    backoff: Backoff,
    /// The interval between reports while registered.
    heartbeat: Option<Duration>,
    away: bool,
}

impl Reporter {
    /// Makes a reporter if the options name a gateway.
    ///
    /// # Errors
    /// When the gateway's address or certificates can't be used.
    pub(crate) fn new(
        options: &SuperviseOptions,
        status: watch::Receiver<Report>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(gateway) = &options.gateway else {
            return Ok(None);
        };
        Ok(Some(Reporter {
            client: Client::new(gateway, options.gateway_ca.as_deref()).context("--gateway")?,
            id: Uuid::now_v7(),
            registration: registration(options),
            status,
            backoff: Backoff::new(FIRST_PAUSE, options.report_backoff_max),
            heartbeat: None,
            away: false,
        }))
    }

    /// Reports each change, and at each heartbeat. Ends when the state is [`State::Stopped`] and
    /// its report was sent or has failed.
    pub(crate) async fn run(mut self) {
        loop {
            let report = self.status.borrow_and_update().clone();
            let told = self.tell(&report).await;
            if report.state == State::Stopped {
                return;
            }
            let pause = match told {
                Ok(heartbeat) => self.reached(heartbeat),
                Err(error) => self.failed(&error),
            };
            tokio::select! {
                changed = self.status.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Registers if necessary, and reports. Returns the time until the next report.
    async fn tell(&mut self, report: &Report) -> Result<Duration, ClientError> {
        let heartbeat = match self.heartbeat {
            Some(heartbeat) => heartbeat,
            None => {
                let lease = self.client.register(self.id, &self.registration).await?;
                info!(id = %self.id, "registered with the gateway");
                Duration::from_millis(lease.heartbeat_ms).max(SHORTEST_HEARTBEAT)
            }
        };
        self.heartbeat = Some(heartbeat);
        self.client.report(self.id, report).await?;
        Ok(heartbeat)
    }

    fn reached(&mut self, heartbeat: Duration) -> Duration {
        if std::mem::take(&mut self.away) {
            info!("the gateway takes reports again");
        }
        self.backoff.reset();
        heartbeat
    }

    fn failed(&mut self, error: &ClientError) -> Duration {
        if let ClientError::Unknown(_) = error {
            info!("the gateway forgot this supervisor, which registers again");
            self.heartbeat = None;
        } else if std::mem::replace(&mut self.away, true) {
            debug!(%error, "still can't report");
        } else {
            warn!(%error, "can't report; goes on trying");
        }
        self.backoff.next_delay_with_jitter()
    }
}

fn registration(options: &SuperviseOptions) -> Registration {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let program = options.command.first();
    Registration {
        name: options.name.clone().unwrap_or_else(|| host.clone()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host,
        program: program.map_or_else(String::new, |p| p.to_string_lossy().into_owned()),
        pid: std::process::id(),
    }
}
