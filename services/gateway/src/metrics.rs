//! The gateway's counters, in Prometheus' text format.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use fleet::api::{State, Supervisor};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

const REQUESTS: &str = "gateway_http_requests_total";
const REQUEST_SECONDS: &str = "gateway_http_request_duration_seconds";
const REGISTRATIONS: &str = "gateway_registrations_total";
const REPORTS: &str = "gateway_reports_total";
const EXPIRATIONS: &str = "gateway_expirations_total";
const SUPERVISORS: &str = "gateway_supervisors";
const BUILD_INFO: &str = "gateway_build_info";

const SECONDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Starts to count. Call it once in a process.
///
/// # Errors
/// When another recorder is installed in this process.
pub(crate) fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .install_recorder()?;
    describe_counter!(REQUESTS, "Requests answered.");
    describe_histogram!(REQUEST_SECONDS, "Time until the answer's head was ready.");
    describe_counter!(
        REGISTRATIONS,
        "Supervisors that registered for the first time."
    );
    describe_counter!(REPORTS, "Reports taken.");
    describe_counter!(EXPIRATIONS, "Supervisors dropped because they were silent.");
    describe_gauge!(SUPERVISORS, "Supervisors known, by state.");
    describe_gauge!(BUILD_INFO, "Always 1; the label says which version runs.");
    // Creates the counters at the start, because a rate needs the zero.
    for name in [REGISTRATIONS, REPORTS, EXPIRATIONS] {
        counter!(name).absolute(0);
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    Ok(handle)
}

/// Counts the first registration of a supervisor.
pub(crate) fn registered() {
    counter!(REGISTRATIONS).increment(1);
}

/// Counts a supervisor's report.
pub(crate) fn reported() {
    counter!(REPORTS).increment(1);
}

/// Counts dropped supervisors.
pub(crate) fn expired(count: usize) {
    counter!(EXPIRATIONS).increment(count as u64);
}

/// Sets the number of supervisors in each state, including zeros.
pub(crate) fn count_states(supervisors: &[Supervisor]) {
    for state in State::ALL {
        let count = supervisors
            .iter()
            .filter(|s| s.report.state == state)
            .count();
        gauge!(SUPERVISORS, "state" => state.as_str()).set(count as f64);
    }
}

/// Counts each request under its route, not its path: every id would make a time series of its own.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().to_string();
    let begin = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    histogram!(REQUEST_SECONDS, "method" => method.clone(), "route" => route.clone())
        .record(begin.elapsed());
    counter!(REQUESTS, "method" => method, "route" => route, "status" => status).increment(1);
    response
}
