//! What a supervisor tells the gateway, and that a gateway which is away or stuck holds nothing up.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::routing::{post, put};
use axum::{Json, Router};
use fleet::api::{Lease, Outcome, Registration, Report, State};
use support::{Supervisor, Way};

/// A gateway that writes down what it hears.
#[derive(Clone, Default)]
struct Gateway(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    registrations: Vec<(String, Registration)>,
    reports: Vec<(String, Report)>,
    /// Answer the next report as a gateway does that was restarted.
    forget: bool,
}

impl Gateway {
    fn heard<T>(&self, read: impl Fn(&mut Heard) -> T) -> T {
        read(&mut self.0.lock().unwrap())
    }

    fn states(&self) -> Vec<State> {
        self.heard(|heard| heard.reports.iter().map(|(_, r)| r.state).collect())
    }

    /// Serves on this address from now on.
    fn serve(&self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let router = Router::new()
            .route("/v1/supervisors/{id}", put(register))
            .route("/v1/supervisors/{id}/report", post(report))
            .with_state(self.clone());
        tokio::spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    }
}

async fn register(
    Shared(gateway): Shared<Gateway>,
    Path(id): Path<String>,
    Json(registration): Json<Registration>,
) -> Json<Lease> {
    gateway.heard(|heard| {
        heard.registrations.push((id.clone(), registration.clone()));
    });
    Json(Lease {
        heartbeat_ms: 100,
        expires_ms: 1000,
    })
}

async fn report(
    Shared(gateway): Shared<Gateway>,
    Path(id): Path<String>,
    Json(report): Json<Report>,
) -> StatusCode {
    gateway.heard(|heard| {
        if std::mem::take(&mut heard.forget) {
            return StatusCode::NOT_FOUND;
        }
        heard.reports.push((id.clone(), report.clone()));
        StatusCode::NO_CONTENT
    })
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The supervisor's waits are blocking: the gateway must have threads of its own.
async fn blocking<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_hears_of_each_change_and_of_the_end() {
    let gateway = Gateway::default();
    let (listener, address) = listen();
    gateway.serve(listener);
    let flags = [
        format!("--gateway=http://{address}"),
        "--name=app-1".to_owned(),
        "--backoff-initial=300ms".to_owned(),
    ];
    let flags = flags.each_ref().map(String::as_str);
    let script = "if [ -e again ]; then sleep 100; fi; touch again; exit 3";
    let mut supervisor = Supervisor::script(Way::Plain, &flags, script);
    let seen = gateway.clone();
    blocking(move || {
        supervisor.wait_until("restart", || {
            seen.heard(|heard| {
                let running = |r: &Report| r.state == State::Running && r.restarts == 1;
                heard.reports.iter().filter(|(_, r)| running(r)).count() >= 3
            })
        });
        supervisor.signal("TERM");
        assert_eq!(supervisor.code(), 143);
    })
    .await;

    let mut states = gateway.states();
    states.dedup();
    assert!(states.contains(&State::BackingOff), "{states:?}");
    assert_eq!(states.last(), Some(&State::Stopped));
    gateway.heard(|heard| {
        assert_eq!(heard.registrations.len(), 1);
        let (id, registration) = &heard.registrations[0];
        assert_eq!(registration.name, "app-1");
        assert_eq!(registration.program, "sh");
        assert!(heard.reports.iter().all(|(reported, _)| reported == id));
        let exits: Vec<_> = heard
            .reports
            .iter()
            .filter_map(|(_, r)| r.last_exit)
            .collect();
        assert_eq!(exits.first().unwrap().outcome, Outcome::Code(3));
        assert_eq!(exits.last().unwrap().outcome, Outcome::Signal(15));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn it_registers_when_the_gateway_comes_and_again_when_it_was_forgotten() {
    let gateway = Gateway::default();
    let (listener, address) = listen();
    drop(listener);
    let flag = format!("--gateway=http://{address}");
    let supervisor = Supervisor::start(Way::Plain, &[&flag], &["sleep", "100"]);
    let supervisor = blocking(move || {
        supervisor.wait_until("failure", || {
            supervisor.logged("can't report; goes on trying") == 1
        });
        supervisor.wait_until("command", || supervisor.logged("command started") == 1);
        supervisor
    })
    .await;

    gateway.serve(TcpListener::bind(address).unwrap());
    let seen = gateway.clone();
    blocking(move || {
        supervisor.wait_until("report", || seen.states().contains(&State::Running));
        seen.heard(|heard| heard.forget = true);
        supervisor.wait_until("second registration", || {
            seen.heard(|heard| heard.registrations.len() == 2)
        });
    })
    .await;
    gateway.heard(|heard| assert_eq!(heard.registrations[0], heard.registrations[1]));
}

#[test]
fn a_gateway_that_never_answers_holds_nothing_up() {
    let (_listener, address) = listen();
    let flags = [
        format!("--gateway=http://{address}"),
        "--max-restarts=2".to_owned(),
        "--backoff-initial=10ms".to_owned(),
    ];
    let flags = flags.each_ref().map(String::as_str);
    let begin = Instant::now();
    let mut supervisor = Supervisor::script(Way::Plain, &flags, "echo x >> runs; exit 1");
    supervisor.wait_for_lines("runs", 3);
    assert!(begin.elapsed() < Duration::from_secs(2), "restarts waited");
    assert_eq!(supervisor.code(), 1);
    assert!(begin.elapsed() < Duration::from_secs(5), "the end waited");
}
