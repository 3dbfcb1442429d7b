//! The program as a process: its health check, its end, TLS, the command line.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fleet::Client;
use support::{GATEWAY, Gateway};

#[test]
fn health_is_zero_while_it_serves_and_one_after() {
    let mut gateway = Gateway::start(&[]);
    let output = gateway.health(&[]);
    assert!(output.status.success(), "{output:?}");
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let output = gateway.health(&[]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains("not healthy") && words.contains(&gateway.address),
        "{words}"
    );
}

#[test]
fn a_request_that_has_begun_is_answered_before_the_end() {
    for name in ["TERM", "INT"] {
        let mut gateway = Gateway::start(&[]);
        let body = r#"{"name":"a","version":"1","host":"h","program":"p","pid":1}"#;
        let (first, rest) = body.split_at(20);
        let mut stream = TcpStream::connect(&gateway.address).unwrap();
        write!(
            stream,
            "PUT /v1/supervisors/00000000-0000-0000-0000-000000000001 HTTP/1.1\r\nhost: g\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
            body.len()
        )
        .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        gateway.signal(name);
        std::thread::sleep(Duration::from_millis(300));
        assert!(
            TcpStream::connect(&gateway.address).is_err(),
            "still accepts"
        );
        stream.write_all(rest.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        assert!(gateway.wait().success());
    }
}

#[test]
fn a_client_that_never_finishes_does_not_hold_the_end_up() {
    let mut gateway = Gateway::start(&["--drain-timeout=300ms"]);
    let mut stream = TcpStream::connect(&gateway.address).unwrap();
    stream
        .write_all(b"PUT /v1/supervisors/x HTTP/1.1\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    gateway.signal("TERM");
    assert!(gateway.wait().success());
}

#[tokio::test]
async fn it_is_not_ready_while_it_waits_for_load_balancers() {
    let mut gateway = Gateway::start(&["--drain-delay=1s"]);
    let client = Client::new(&gateway.url(""), None).unwrap();
    client.ready().await.unwrap();
    gateway.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = client.ready().await.unwrap_err().to_string();
    assert!(
        error.contains("503") && error.contains("shutting down"),
        "{error}"
    );
    client.healthy().await.unwrap();
    assert!(gateway.wait().success());
}

#[tokio::test]
async fn tls_with_a_certificate_that_can_change() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    write_certificate(&certificate, &key);
    let flags = [
        format!("--tls-cert={}", certificate.display()),
        format!("--tls-key={}", key.display()),
    ];
    let flags = [flags[0].as_str(), flags[1].as_str()];
    let gateway = Gateway::start(&flags);
    let url = format!("https://{}", gateway.address);

    let trusting = Client::new(&url, Some(&certificate)).unwrap();
    trusting.ready().await.unwrap();
    let output = gateway.health(&flags);
    assert!(output.status.success(), "{output:?}");
    let plain = Client::new(&gateway.url(""), None).unwrap();
    assert!(plain.healthy().await.is_err(), "plain HTTP is answered");
    let stranger = Client::new(&url, None).unwrap();
    let error = stranger.healthy().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");

    write_certificate(&certificate, &key);
    gateway.signal("HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    Client::new(&url, Some(&certificate))
        .unwrap()
        .ready()
        .await
        .unwrap();
}

#[test]
fn mistakes_on_the_command_line() {
    let fails = |arguments: &[&str]| {
        let output = Command::new(GATEWAY).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let words = fails(&[
        "--listen=127.0.0.1:0",
        "--tls-cert=/no/c.pem",
        "--tls-key=/no/k.pem",
    ]);
    assert!(words.contains("/no/c.pem"), "{words}");
    let words = fails(&["--heartbeat=10s", "--expire-after=5s"]);
    assert!(words.contains("10s") && words.contains("5s"), "{words}");
    assert!(fails(&["--log-level=a=b=c"]).contains("a=b=c"));
    assert!(fails(&["--heartbeat=10"]).contains("is not a duration"));
    let taken = Gateway::start(&[]);
    let words = fails(&["--listen", &taken.address]);
    assert!(
        words.contains(&taken.address) && words.contains("GATEWAY_LISTEN"),
        "{words}"
    );
}

#[test]
fn it_says_its_version() {
    let output = Command::new(GATEWAY).arg("--version").output().unwrap();
    let expected = concat!("gateway ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

fn write_certificate(certificate: &Path, key: &Path) {
    let names = vec!["127.0.0.1".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(certificate, signed.cert.pem()).unwrap();
    std::fs::write(key, signed.signing_key.serialize_pem()).unwrap();
}
