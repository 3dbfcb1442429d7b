//! The HTTP API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use fleet::api::{self, Lease, MAX_NAME, Registration, Report, Supervisor, SupervisorList};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tracing::info;
use uuid::Uuid;

use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::metrics;
use crate::roster::{Registered, Roster};

/// The size limit of a body, in bytes. A registration or a report has a few hundred bytes.
const MAX_BODY: usize = 16 * 1024;

/// The time limit of a request. No request takes long by itself; a slow one waits for a client that
/// sends nothing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The state that the handlers share.
pub(crate) struct Gateway {
    /// The registered supervisors.
    pub roster: Roster,
    /// The answer to every registration.
    pub lease: Lease,
    /// Whether the gateway is about to end.
    pub draining: AtomicBool,
    /// The counters.
    pub metrics: PrometheusHandle,
}

/// Returns the whole API with its layers, the outermost last.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route(api::HEALTHZ, get(healthz))
        .route(api::READYZ, get(readyz))
        .route(api::METRICS, get(show_metrics))
        .route(api::SUPERVISORS, get(list))
        .route("/v1/supervisors/{id}", put(register).get(show))
        .route("/v1/supervisors/{id}/report", post(report))
        .fallback(|| async { ApiError::no_such_path() })
        .with_state(gateway)
        .layer(CompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIMEOUT,
        ))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(metrics::measure))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(TraceLayer::new_for_http())
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(gateway): State<Arc<Gateway>>) -> Result<&'static str, ApiError> {
    if gateway.draining.load(Ordering::Relaxed) {
        return Err(ApiError::draining());
    }
    Ok("ok\n")
}

async fn show_metrics(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    metrics::count_states(&gateway.roster.list());
    let text_format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text_format, gateway.metrics.render())
}

async fn list(State(gateway): State<Arc<Gateway>>) -> Json<SupervisorList> {
    let supervisors = gateway.roster.list();
    Json(SupervisorList { supervisors })
}

async fn show(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<Uuid>,
) -> Result<Json<Supervisor>, ApiError> {
    let found = gateway.roster.get(id);
    found.map(Json).ok_or(ApiError::unknown_supervisor(id))
}

async fn register(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<Uuid>,
    Json(registration): Json<Registration>,
) -> Result<(StatusCode, Json<Lease>), ApiError> {
    check_name(&registration.name)?;
    let name = registration.name.clone();
    let status = match gateway.roster.register(id, registration) {
        Registered::Full => return Err(ApiError::full()),
        Registered::Again => StatusCode::OK,
        Registered::New => {
            info!(%id, name, "supervisor registered");
            metrics::registered();
            StatusCode::CREATED
        }
    };
    Ok((status, Json(gateway.lease)))
}

async fn report(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<Uuid>,
    Json(report): Json<Report>,
) -> Result<StatusCode, ApiError> {
    if !gateway.roster.report(id, report) {
        return Err(ApiError::unknown_supervisor(id));
    }
    metrics::reported();
    Ok(StatusCode::NO_CONTENT)
}

/// Checks a name. Terminals and log lines show names, so they may hold no control characters, and
/// their length is limited.
fn check_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "name {name:?} must have 1 to {MAX_NAME} bytes and no control characters"
        )));
    }
    Ok(())
}
