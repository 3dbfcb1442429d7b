//! The server, from the first socket to the last answer.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum_server::Handle;
use fleet::api::Lease;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tracing::{error, info, warn};

use crate::metrics;
use crate::options::{Options, ServeOptions};
use crate::roster::Roster;
use crate::routes::{self, Gateway};
use crate::signals::{Signals, Wish};
use crate::tls::Tls;

/// The time within which a client must send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest interval between searches for silent supervisors. More frequent ones help nobody.
const SHORTEST_ROUND: Duration = Duration::from_millis(10);

/// Serves until a signal, then finishes the requests that have begun and returns.
///
/// # Errors
/// When the options contradict each other, the certificate is no good, or the address can't be
/// listened on.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    options.logs.start()?;
    let options = options.serve;
    ensure!(
        options.heartbeat < options.expire_after,
        "--heartbeat {:?} must be less than --expire-after {:?}, else every supervisor expires",
        options.heartbeat,
        options.expire_after
    );
    let signals = Signals::listen().context("can't handle signals")?;
    let tls = Tls::load(&options).await?;
    let listener = listen(options.listen)?;
    let address = listener.local_addr()?;
    let gateway = Arc::new(gateway(&options)?);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        tls = tls.is_some(),
        "gateway listens"
    );

    let handle = Handle::new();
    tokio::spawn(drop_silent(gateway.clone(), options.expire_after));
    let obey = obey(
        signals,
        gateway.clone(),
        tls.clone(),
        handle.clone(),
        options,
    );
    tokio::spawn(obey);
    let app = routes::router(gateway).into_make_service();
    let served = match tls {
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener, tls.config)?.handle(handle);
            limit(server.http_builder());
            server.serve(app).await
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle);
            limit(server.http_builder());
            server.serve(app).await
        }
    };
    served.context("serving failed")?;
    info!("gateway ends");
    Ok(())
}

fn gateway(options: &ServeOptions) -> anyhow::Result<Gateway> {
    Ok(Gateway {
        roster: Roster::new(options.expire_after, options.capacity),
        lease: Lease {
            heartbeat_ms: milliseconds(options.heartbeat),
            expires_ms: milliseconds(options.expire_after),
        },
        draining: AtomicBool::new(false),
        metrics: metrics::start().context("can't start metrics")?,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("can't listen on {address}; set another by --listen or GATEWAY_LISTEN")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Limits clients that open connections and then send nothing.
fn limit(http: &mut Builder<TokioExecutor>) {
    let mut http1 = http.http1();
    http1.timer(TokioTimer::new());
    http1.header_read_timeout(HEAD_TIMEOUT);
    let mut http2 = http.http2();
    http2.timer(TokioTimer::new());
    http2.keep_alive_interval(HEAD_TIMEOUT);
}

/// Drops silent supervisors, for ever. Lists hide them at once; this frees their memory.
async fn drop_silent(gateway: Arc<Gateway>, expire_after: Duration) {
    let mut ticks = tokio::time::interval((expire_after / 4).max(SHORTEST_ROUND));
    loop {
        ticks.tick().await;
        let expired = gateway.roster.expire();
        for supervisor in &expired {
            let name = &supervisor.registration.name;
            warn!(id = %supervisor.id, name, "supervisor expired: it was silent");
        }
        metrics::expired(expired.len());
        gateway.metrics.run_upkeep();
    }
}

/// Does what signals ask for, until one ends the gateway.
async fn obey(
    mut signals: Signals,
    gateway: Arc<Gateway>,
    tls: Option<Tls>,
    handle: Handle<SocketAddr>,
    options: ServeOptions,
) {
    while signals.next().await == Wish::Reload {
        reload(tls.as_ref()).await;
    }
    info!(timeout = ?options.drain_timeout, "gateway drains");
    gateway.draining.store(true, Ordering::Relaxed);
    tokio::time::sleep(options.drain_delay).await;
    handle.graceful_shutdown(Some(options.drain_timeout));
}

async fn reload(tls: Option<&Tls>) {
    match tls {
        None => info!("SIGHUP: there is no certificate to read again"),
        Some(tls) => match tls.reload().await {
            Ok(()) => info!("certificate read again"),
            Err(error) => error!("the old certificate stays: {error:#}"),
        },
    }
}
