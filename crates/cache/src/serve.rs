//! A server that lets Nix read packs: a binary cache over HTTP, only on loopback.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use tokio::net::TcpListener;

use crate::error::{Error, Result};
use crate::packs::{Archive, Packs};
use crateyard_nix::STORE;

/// The priority of the cache. Nix asks it before the machine's other caches, because it is the
/// nearest.
const PRIORITY: u32 = 20;
/// Threads of the server. Nix opens 25 connections, but other threads read their data.
const THREADS: usize = 2;

/// A server of packs that listens but does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    caches: Vec<Packs>,
    served: Served,
}

/// Counters of a server.
#[derive(Debug, Default)]
pub struct Served {
    /// The number of narinfos that were sent.
    pub narinfos: AtomicU64,
    /// The number of archives that were sent completely.
    pub archives: AtomicU64,
    /// The number of bytes of archives that were sent.
    pub bytes: AtomicU64,
}

impl Server {
    /// Listens on loopback at `port`, or at a free port if it is 0.
    ///
    /// # Errors
    /// Fails if the port is taken.
    pub async fn bind(caches: Vec<Packs>, port: u16) -> Result<Server> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let failed = |error: std::io::Error| Error::Unreachable {
            url: format!("http://{wanted}"),
            reason: error.to_string(),
        };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Server {
            listener,
            address,
            shared: Arc::new(Shared {
                caches,
                served: Served::default(),
            }),
        })
    }

    /// Returns the URL of the cache for Nix.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests until the future is dropped.
    ///
    /// # Errors
    /// Fails if the socket fails.
    pub async fn run(self) -> Result<()> {
        let url = self.url();
        let router = Router::new()
            .route("/nix-cache-info", get(info))
            .route("/{name}", get(narinfo))
            .route("/nar/{name}", get(archive))
            .with_state(self.shared);
        axum::serve(self.listener, router)
            .await
            .map_err(|error| Error::Unreachable {
                url,
                reason: error.to_string(),
            })
    }
}

/// A server on its own threads. It stops when this is dropped.
pub struct Background {
    url: String,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

impl Background {
    /// Opens caches with a future, then serves them on the same runtime at a free port.
    ///
    /// # Errors
    /// Fails if there is no thread or no free port.
    pub fn start(open: impl Future<Output = Vec<Packs>>) -> Result<Background> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|error| Error::Unreachable {
                url: "http://127.0.0.1".to_owned(),
                reason: error.to_string(),
            })?;
        let server = runtime.block_on(async { Server::bind(open.await, 0).await })?;
        let (url, shared) = (server.url(), server.shared.clone());
        runtime.spawn(server.run());
        Ok(Background {
            url,
            shared,
            _runtime: runtime,
        })
    }

    /// Returns the URL of the cache for Nix.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the counters so far.
    pub fn served(&self) -> &Served {
        &self.shared.served
    }
}

async fn info() -> String {
    format!("StoreDir: {STORE}\nWantMassQuery: 1\nPriority: {PRIORITY}\n")
}

async fn narinfo(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let hash = name.strip_suffix(".narinfo").unwrap_or_default();
    let found = shared.caches.iter().find_map(|cache| cache.narinfo(hash));
    match found {
        Some(info) => {
            shared.served.narinfos.fetch_add(1, Ordering::Relaxed);
            (
                [(header::CONTENT_TYPE, "text/x-nix-narinfo")],
                info.to_string(),
            )
                .into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn archive(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let url = format!("nar/{name}");
    for cache in &shared.caches {
        match cache.archive(&url).await {
            Ok(Some(archive)) => return send(archive, shared.clone()),
            Ok(None) => {}
            Err(error) => {
                crateyard_terminal::warning!("{}: {error}", cache.place());
                return StatusCode::BAD_GATEWAY.into_response();
            }
        }
    }
    StatusCode::NOT_FOUND.into_response()
}

fn send(archive: Archive, shared: Arc<Shared>) -> Response {
    let size = archive.size;
    let pieces = stream::try_unfold((archive, shared), |(mut archive, shared)| async move {
        let piece = archive.chunk().await?;
        match &piece {
            Some(piece) => shared
                .served
                .bytes
                .fetch_add(piece.len() as u64, Ordering::Relaxed),
            None => shared.served.archives.fetch_add(1, Ordering::Relaxed),
        };
        Ok::<_, Error>(piece.map(|piece| (piece, (archive, shared))))
    });
    ([(header::CONTENT_LENGTH, size)], Body::from_stream(pieces)).into_response()
}
