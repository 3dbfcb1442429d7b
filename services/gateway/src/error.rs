//! Errors as the API's callers see them.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fleet::api::Problem;
use uuid::Uuid;

/// An unsuccessful answer: a status, and the reason as [`Problem`].
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    reason: String,
}

impl ApiError {
    /// Reports an invalid value in the request.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
    }

    /// Reports that there is no such supervisor, or that it was silent for too long.
    pub(crate) fn unknown_supervisor(id: Uuid) -> Self {
        let reason = format!("supervisor {id} is not registered");
        ApiError::new(StatusCode::NOT_FOUND, reason)
    }

    /// Reports that the gateway has no room for more supervisors.
    pub(crate) fn full() -> Self {
        let reason = "the gateway knows as many supervisors as it may; see GATEWAY_CAPACITY";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// Reports that the gateway is about to end.
    pub(crate) fn draining() -> Self {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is shutting down",
        )
    }

    /// Reports that no route has this path.
    pub(crate) fn no_such_path() -> Self {
        ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        ApiError {
            status,
            reason: reason.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(Problem { error: self.reason })).into_response()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        ApiError::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        ApiError::new(rejection.status(), rejection.body_text())
    }
}
