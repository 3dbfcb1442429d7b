//! Hostile registries: they try to make the client reach local services, or send credentials
//! elsewhere.
#![allow(missing_docs)]

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crateyard_oci::{Descriptor, Digest, Reference, TagOrDigest};
use crateyard_registry::{Credentials, Error, Kind, pull, push};
use crateyard_testing::scripted::{Answer, Scripted, Seen, certify, elsewhere};
use crateyard_testing::{Home, Layout, run};
use serde_json::json;

fn password() -> Option<Credentials> {
    Some(Credentials::Password {
        username: "ann".to_owned(),
        password: "secret".to_owned(),
    })
}

/// Answers like a registry that accepts every push but has no blobs.
fn takes_all(seen: &Seen) -> Answer {
    match seen.method.as_str() {
        "HEAD" | "GET" => Answer::new(404),
        "POST" => Answer::new(202).header("Location", format!("{}1", seen.path)),
        _ => Answer::new(201),
    }
}

/// URLs with which a remote registry tries to reach a service on this machine.
const LURES: [&str; 6] = [
    "realm",
    "upload",
    "chunk",
    "blob",
    "question",
    "token redirect",
];

fn lure(name: &str, seen: &Seen, victim: &str) -> Answer {
    let leads = |status| Answer::new(status).header("Location", victim);
    match name {
        "realm" => Answer::new(401).header(
            "WWW-Authenticate",
            format!(r#"Bearer realm="{victim}",service="s""#),
        ),
        "token redirect" if seen.path.starts_with("/token") => leads(307),
        "token redirect" => Answer::new(401).header("WWW-Authenticate", r#"Bearer realm="/token""#),
        "upload" if seen.method == "POST" => leads(202),
        "chunk" if seen.method == "PATCH" => leads(202).header("Range", "0-999"),
        "blob" if seen.is("GET", "/blobs/") => leads(307),
        "question" if seen.is("HEAD", "/blobs/") => leads(307),
        _ => takes_all(seen),
    }
}

#[test]
fn a_registry_elsewhere_reaches_nothing_on_this_machine() {
    let Some(address) = elsewhere() else {
        crateyard_testing::skip("loopback", "this machine has only loopback addresses");
        return;
    };
    let layout = Layout::with_image(1, &[3000]);
    for over_tls in [true, false] {
        for scheme in ["http", "https"] {
            for name in LURES {
                let victim = Scripted::start(|_| Answer::new(200).body(r#"{"token":"t"}"#));
                let port = victim.address.port();
                let (requests, error) = approach(address, over_tls, name, &layout, move || {
                    format!("{scheme}://localhost:{port}/admin/delete?all=1")
                });
                let place = format!("{name} over {scheme}, TLS {over_tls}: {error}");
                assert!(victim.seen().is_empty(), "{place}: {:?}", victim.seen());
                assert!(requests > 0, "{place}: the registry was never asked");
                let Error::Request(failure) = error else {
                    panic!("{place}");
                };
                match name {
                    "token redirect" => assert_eq!(failure.kind, Kind::Refused, "{place}"),
                    _ => {
                        assert_eq!(failure.kind, Kind::Contradiction, "{place}");
                        assert!(failure.detail.contains("this machine"), "{place}");
                    }
                }
            }
        }
    }
}

/// Pushes to or fetches from a remote registry that answers with a lure. Returns the number of
/// requests that the registry got, and the error.
fn approach(
    address: IpAddr,
    over_tls: bool,
    name: &'static str,
    layout: &Layout,
    victim: impl Fn() -> String + Send + Sync + 'static,
) -> (usize, Error) {
    let mut home = Home::new();
    let authority = home.directory.path().join("ca.pem");
    let tls = over_tls.then(|| certify(address, &authority));
    let registry = Scripted::start_at(address, tls, move |seen| lure(name, seen, &victim()));
    home.options.credentials = password();
    home.options.plain_http = !over_tls;
    home.options.retry.attempts = 2;
    if over_tls {
        home.options.ca_files = vec![authority];
    }
    let client = home.client();
    let error = if name == "blob" {
        let repository = registry.repository(&client, "app");
        let blob = run(repository.blob(&Digest::of(b""), 0));
        blob.err().unwrap()
    } else {
        let options = push::Options {
            chunk_size: 1000,
            ..push::Options::default()
        };
        let target = registry.reference("app:v1");
        run(push::push(&client, layout.source(), &target, &options)).unwrap_err()
    };
    (registry.seen().len(), error)
}

#[test]
fn repositories_of_one_registry_show_only_their_own_credentials() {
    for is_bearer in [false, true] {
        let registry = Scripted::start(move |seen| guarded(seen, is_bearer));
        let home = Home::new();
        let auth = |text: &str| json!({"auth": STANDARD.encode(text)});
        let key = |name: &str| format!("{}/{name}", registry.address);
        home.docker_config(&json!({"auths": {
            key("a"): auth("alice:secret of a"), key("b"): auth("bob:secret of b"),
        }}));
        let client = home.client();
        let layout = Layout::with_image(2, &[1000]);
        let options = push::Options::default();
        // One client alternates between the repositories, as in a push of several images.
        for name in ["a", "b", "a"] {
            let target = registry.reference(&format!("{name}:v1"));
            run(push::push(&client, layout.source(), &target, &options)).unwrap();
        }
        let seen = registry.seen();
        let shown = |part: &str| {
            let shown = seen.iter().filter(|it| it.path.contains(part));
            let mut shown: Vec<_> = shown.filter_map(|it| it.authorization.clone()).collect();
            shown.sort();
            shown.dedup();
            shown
        };
        let [alice, bob] = ["alice:secret of a", "bob:secret of b"]
            .map(|text| format!("Basic {}", STANDARD.encode(text)));
        if is_bearer {
            assert_eq!(shown("%3Aa%3Apull%2Cpush"), [alice]);
            assert_eq!(shown("%3Ab%3Apull%2Cpush"), [bob]);
            assert_eq!(shown("/v2/a/"), ["Bearer alice"]);
            assert_eq!(shown("/v2/b/"), ["Bearer bob"]);
        } else {
            assert_eq!(shown("/v2/a/"), [alice]);
            assert_eq!(shown("/v2/b/"), [bob]);
        }
    }
}

/// Answers like a registry that asks for credentials. Its token server has a relative URL and
/// writes lifetimes as text.
fn guarded(seen: &Seen, is_bearer: bool) -> Answer {
    if seen.path.starts_with("/token?") {
        let user = if seen.path.contains("account=alice") {
            "alice"
        } else {
            "bob"
        };
        let answer = json!({"token": user, "expires_in": "300"});
        return Answer::new(200).body(answer.to_string());
    }
    match (&seen.authorization, is_bearer) {
        (None, true) => Answer::new(401).header("WWW-Authenticate", r#"Bearer realm="/token""#),
        (None, false) => Answer::new(401).header("WWW-Authenticate", r#"Basic realm="x""#),
        _ => takes_all(seen),
    }
}

#[test]
fn a_token_server_behind_a_proxy_that_ends_tls_is_asked_over_tls() {
    let address = elsewhere().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let own = Arc::new(Mutex::new(String::new()));
    let mut home = Home::new();
    let authority = home.directory.path().join("ca.pem");
    let shared = own.clone();
    let registry = Scripted::start_at(address, Some(certify(address, &authority)), move |seen| {
        let realm = format!("http://{}/token", shared.lock().unwrap());
        match &seen.authorization {
            _ if seen.path.starts_with("/token") => Answer::new(200).body(r#"{"token":"good"}"#),
            Some(shown) if shown == "Bearer good" => takes_all(seen),
            _ => Answer::new(401).header(
                "WWW-Authenticate",
                format!(r#"Bearer realm="{realm}",service="s""#),
            ),
        }
    });
    *own.lock().unwrap() = registry.address.to_string();
    home.options.ca_files = vec![authority];
    home.options.credentials = password();
    let layout = Layout::with_image(3, &[1000]);
    let target = registry.reference("app:v1");
    let options = push::Options::default();
    run(push::push(
        &home.client(),
        layout.source(),
        &target,
        &options,
    ))
    .unwrap();
    let asked = registry.seen();
    assert!(
        asked
            .iter()
            .any(|it| it.path.starts_with("/token?service=s"))
    );
}

#[test]
fn a_missing_helper_stops_only_what_needs_credentials() {
    let server = |allows_push: bool| {
        Scripted::start(move |seen| {
            if seen.path.starts_with("/token") {
                return Answer::new(200).body(r#"{"token":"anonymous"}"#);
            }
            match (&seen.authorization, seen.method.as_str()) {
                (None, _) => {
                    Answer::new(401).header("WWW-Authenticate", r#"Bearer realm="/token""#)
                }
                (_, "POST" | "PUT") if !allows_push => {
                    Answer::new(403).body(r#"{"errors":[{"code":"DENIED","message":"not you"}]}"#)
                }
                _ => takes_all(seen),
            }
        })
    };
    let home = Home::new();
    home.docker_config(&json!({"credsStore": "not-installed-anywhere"}));
    let layout = Layout::with_image(4, &[1000]);
    let push = |registry: &Scripted| {
        let target = registry.reference("app:v1");
        let options = push::Options::default();
        run(push::push(
            &home.client(),
            layout.source(),
            &target,
            &options,
        ))
    };
    push(&server(true)).unwrap();
    let notices = home.told.notices.lock().unwrap().clone();
    let program = "docker-credential-not-installed-anywhere";
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains(program), "{notices:?}");
    let error = push(&server(false)).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    let text = error.to_string();
    assert!(text.contains(&format!("install {program}")), "{text}");
    assert!(!text.contains("docker login"), "{text}");
}

#[test]
fn a_login_is_advised_only_where_it_helps() {
    let error = |answer: fn(&Seen) -> Answer, credentials: Option<Credentials>| {
        let registry = Scripted::start(answer);
        let mut home = Home::new();
        home.options.credentials = credentials;
        let client = home.client();
        let repository = registry.repository(&client, "app");
        let version = TagOrDigest::Tag("v1".to_owned());
        run(repository.manifest(&version)).unwrap_err().to_string()
    };
    let basic = |_: &Seen| Answer::new(401).header("WWW-Authenticate", r#"Basic realm="x""#);
    assert!(error(basic, None).contains("docker login 127.0.0.1"));
    let forbidden = |_: &Seen| Answer::new(403);
    let strange = |_: &Seen| Answer::new(401).header("WWW-Authenticate", "Negotiate");
    let no_token = |seen: &Seen| match seen.path.starts_with("/token") {
        true => Answer::new(200).body("{}"),
        false => Answer::new(401).header("WWW-Authenticate", r#"Bearer realm="/token""#),
    };
    for text in [
        error(forbidden, None),
        error(forbidden, password()),
        error(strange, None),
        error(no_token, password()),
    ] {
        assert!(
            text.contains("try: ") && !text.contains("docker login"),
            "{text}"
        );
    }
}

#[test]
fn a_pull_says_where_it_was_not_led() {
    let Some(address) = elsewhere() else {
        crateyard_testing::skip("loopback pull", "this machine has only loopback addresses");
        return;
    };
    let registry = Scripted::start_at(address, None, |_| {
        Answer::new(401).header("WWW-Authenticate", r#"Bearer realm="http://127.0.0.1:1/t""#)
    });
    let mut home = Home::new();
    home.options.plain_http = true;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let target = registry.reference("app:v1");
    let options = pull::Options::default();
    let error = run(pull::pull(&home.client(), &target, &path, &options)).unwrap_err();
    assert_eq!(error.exit_code(), 8, "{error}");
    assert!(error.to_string().contains("this machine"), "{error}");
    assert!(!path.exists());
}

/// Starts a server that answers each request with a byte now and then.
fn dripping() -> Reference {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let drip = |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        let mut sent = stream.write_all(head.as_bytes());
        while sent.is_ok() {
            std::thread::sleep(Duration::from_millis(50));
            sent = stream.write_all(b" ");
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drip(stream));
        }
    });
    format!("{address}/app:v1").parse().unwrap()
}

#[test]
fn an_answer_that_comes_too_slowly_is_left() {
    let mut home = Home::new();
    home.options.retry.attempts = 1;
    home.options.timeouts.stall = Duration::from_secs(2);
    let version = TagOrDigest::Tag("v1".to_owned());
    let said = |reference: &Reference| {
        let repository = home.client().repository(reference).unwrap();
        run(repository.manifest(&version)).unwrap_err().to_string()
    };
    let text = said(&dripping());
    assert!(text.contains("only") && text.contains("came in"), "{text}");
    // It never stops, and comes faster than that, but has no end.
    let registry = Scripted::start(|_| {
        let wait = |_| std::thread::sleep(Duration::from_millis(500));
        Answer::new(200)
            .body(vec![b' '; 4 << 20])
            .before_piece(wait)
    });
    let whole = registry.reference("app:v1");
    let attached = Descriptor::of("text/plain", &vec![b' '; 4 << 20]);
    let document = || {
        let repository = home.client().repository(&whole).unwrap();
        run(repository.small_blob(&attached))
            .unwrap_err()
            .to_string()
    };
    std::thread::scope(|scope| {
        let document = scope.spawn(document);
        for text in [said(&whole), document.join().unwrap()] {
            assert!(text.contains("no end after 10 s"), "{text}");
        }
    });
}

/// Starts a server whose answers have two bytes and then end. A byte or the end, if the answer has
/// no length, comes after each pause.
fn pausing(pause: Duration, has_length: bool) -> Reference {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let length = if has_length {
                "Content-Length: 2"
            } else {
                "X: y"
            };
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n\r\n");
            let pieces = if has_length { ["{", "}"] } else { ["{}", ""] };
            let _ = stream.write_all(head.as_bytes());
            for piece in pieces {
                std::thread::sleep(pause);
                let _ = stream.write_all(piece.as_bytes());
            }
        }
    });
    format!("{address}/app:v1").parse().unwrap()
}

#[test]
fn an_answer_may_be_slow_if_it_ends() {
    let mut home = Home::new();
    home.options.timeouts.stall = Duration::from_secs(4);
    let attached = Descriptor::of("text/plain", b"{}");
    for has_length in [true, false] {
        let reference = pausing(Duration::from_millis(2_200), has_length);
        let repository = home.client().repository(&reference).unwrap();
        let received = run(repository.small_blob(&attached)).unwrap();
        assert_eq!(received.as_ref(), b"{}", "with a length: {has_length}");
    }
}
