//! The API, asked from outside.

mod support;

use std::time::Duration;

use fleet::api::{Outcome, Registration, Report, State};
use fleet::{Client, ClientError};
use support::Gateway;
use uuid::Uuid;

fn registration(name: &str) -> Registration {
    Registration {
        name: name.into(),
        version: "0.1.0".into(),
        host: "host".into(),
        program: "/usr/bin/app".into(),
        pid: 1,
    }
}

fn report() -> Report {
    Report {
        state: State::Running,
        child_pid: Some(7),
        restarts: 2,
        last_exit: Some(fleet::api::Exit {
            at: jiff::Timestamp::UNIX_EPOCH,
            outcome: Outcome::Signal(9),
        }),
    }
}

#[tokio::test]
async fn supervisors_register_report_and_are_listed() {
    let gateway = Gateway::start(&["--heartbeat=2s", "--expire-after=7s"]);
    let client = Client::new(&gateway.url(""), None).unwrap();
    client.healthy().await.unwrap();
    client.ready().await.unwrap();
    assert_eq!(client.list().await.unwrap(), []);

    let (b, a) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let lease = client.register(b, &registration("b")).await.unwrap();
    assert_eq!((lease.heartbeat_ms, lease.expires_ms), (2000, 7000));
    client.register(a, &registration("a")).await.unwrap();
    client.report(a, &report()).await.unwrap();
    client.register(a, &registration("a")).await.unwrap();

    let list = client.list().await.unwrap();
    let names: Vec<_> = list.iter().map(|s| s.registration.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(list[0].report, report());
    assert_eq!(list[1].report, Report::default());

    let one = reqwest::get(gateway.url(&fleet::api::supervisor_path(a))).await;
    let one: fleet::api::Supervisor = one.unwrap().json().await.unwrap();
    assert_eq!(one, list[0]);
}

#[tokio::test]
async fn the_silent_are_dropped() {
    let gateway = Gateway::start(&["--heartbeat=100ms", "--expire-after=400ms"]);
    let client = Client::new(&gateway.url(""), None).unwrap();
    let id = Uuid::from_u128(1);
    client.register(id, &registration("a")).await.unwrap();
    assert_eq!(client.list().await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(client.list().await.unwrap(), []);
    let error = client.report(id, &report()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown(unknown) if unknown == id));
    let metrics = reqwest::get(gateway.url("/metrics")).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("gateway_expirations_total 1"), "{metrics}");
}

#[tokio::test]
async fn bad_requests_say_what_is_wrong() {
    let gateway = Gateway::start(&["--capacity=1"]);
    let http = reqwest::Client::new();
    let path = |id: u128| gateway.url(&fleet::api::supervisor_path(Uuid::from_u128(id)));
    let put = |url: String, body: String| {
        let request = http.put(url).header("content-type", "application/json");
        async move {
            let answer = request.body(body).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let named = |name: &str| serde_json::to_string(&registration(name)).unwrap();

    let (status, body) = put(path(1), "{".into()).await;
    assert_eq!(status, 400, "{body}");
    let (status, body) = put(path(1), "{\"name\":\"a\"}".into()).await;
    assert!(
        status == 422 && body.contains("missing field"),
        "{status} {body}"
    );
    for bad in ["", "a\u{7}", &"n".repeat(254)] {
        let (status, body) = put(path(1), named(bad)).await;
        assert!(
            status == 422 && body.contains("1 to 253"),
            "{status} {body}"
        );
    }
    let (status, body) = put(gateway.url("/v1/supervisors/me"), named("a")).await;
    assert!(status == 400 && body.contains("me"), "{status} {body}");
    let (status, _) = put(path(1), named(&"n".repeat(20_000))).await;
    assert_eq!(status, 413);

    assert_eq!(put(path(1), named("a")).await.0, 201);
    assert_eq!(put(path(1), named("a")).await.0, 200);
    let (status, body) = put(path(2), named("b")).await;
    assert!(
        status == 503 && body.contains("GATEWAY_CAPACITY"),
        "{status} {body}"
    );

    let missing = reqwest::get(gateway.url("/nothing")).await.unwrap();
    assert_eq!(missing.status().as_u16(), 404);
    assert!(missing.headers().contains_key("x-request-id"));
    assert!(
        missing
            .text()
            .await
            .unwrap()
            .contains("nothing at this path")
    );
}

#[tokio::test]
async fn metrics_count_by_route_and_state() {
    let gateway = Gateway::start(&[]);
    let client = Client::new(&gateway.url(""), None).unwrap();
    let id = Uuid::from_u128(1);
    client.register(id, &registration("a")).await.unwrap();
    client.report(id, &report()).await.unwrap();
    let answer = reqwest::get(gateway.url("/metrics")).await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4"
    );
    let text = answer.text().await.unwrap();
    for line in [
        "gateway_supervisors{state=\"running\"} 1",
        "gateway_supervisors{state=\"stopped\"} 0",
        "gateway_registrations_total 1",
        "gateway_reports_total 1",
        concat!(
            "gateway_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
        "gateway_http_requests_total{method=\"PUT\",route=\"/v1/supervisors/{id}\",status=\"201\"} \
         1",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in:\n{text}");
    }
}
