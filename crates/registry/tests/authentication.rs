//! Basic and token authentication, TLS and client certificates, against the real registry.
#![allow(missing_docs)]

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crateyard_oci::Reference;
use crateyard_registry::{ClientCertificate, Credentials, Error, Kind, push};
use crateyard_testing::need;
use crateyard_testing::proxy::{Fault, Proxy, count};
use crateyard_testing::tokens::{REFRESH_TOKEN, TokenServer};
use crateyard_testing::{Home, Layout, Registry, check_whole, run};
use serde_json::json;

/// The user "ann" with the password "secret", hashed by bcrypt.
const HTPASSWD: &str = "ann:$2y$04$DB.JUfTUWWKABFiljuNNEeSJ7FGrpHrVanSMTLzKzyQZykcvltoc2\n";

fn options() -> push::Options {
    push::Options {
        chunk_size: 64 * 1024,
        ..push::Options::default()
    }
}

fn ann(password: &str) -> Credentials {
    Credentials::Password {
        username: "ann".to_owned(),
        password: password.to_owned(),
    }
}

fn failure(error: Error) -> (Kind, String) {
    match error {
        Error::Request(failure) => (failure.kind, failure.to_string()),
        other => panic!("{other}"),
    }
}

fn push(home: &Home, layout: &Layout, target: &Reference) -> Result<push::Report, Error> {
    run(push::push(
        &home.client(),
        layout.source(),
        target,
        &options(),
    ))
}

#[test]
fn basic_authentication() {
    need!("basic", "docker-registry");
    let directory = tempfile::tempdir().unwrap();
    let htpasswd = directory.path().join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let registry = Registry::start_with(
        json!({}),
        json!({"htpasswd": {"realm": "test", "path": htpasswd}}),
    );
    let proxy = Proxy::start(registry.address);
    let layout = Layout::with_image(1, &[100_000]);
    let target = proxy.reference("app:v1");

    let mut home = Home::new();
    let (kind, text) = failure(push(&home, &layout, &target).unwrap_err());
    assert_eq!(kind, Kind::Denied);
    assert_eq!(
        proxy.take().len(),
        1,
        "without credentials, no request is repeated"
    );
    assert!(
        text.contains(&format!("docker login {}", proxy.address)) && text.contains("HEAD http://"),
        "{text}"
    );
    home.options.credentials = Some(ann("wrong"));
    proxy.take();
    let (kind, _) = failure(push(&home, &layout, &target).unwrap_err());
    assert_eq!(kind, Kind::Denied);
    assert_eq!(proxy.take().len(), 2, "a wrong password is not tried again");
    home.options.credentials = None;
    let auth = STANDARD.encode("ann:secret");
    home.docker_config(&json!({"auths": {proxy.address.to_string(): {"auth": auth}}}));
    proxy.take();
    let report = push(&home, &layout, &target).unwrap();
    assert_eq!(report.retries, 0);
    let denied = proxy
        .take()
        .iter()
        .filter(|entry| entry.status == 401)
        .count();
    assert_eq!(denied, 1, "only the first request goes without credentials");
    run(check_whole(&home.client(), &target));
}

#[test]
fn tokens_are_fetched_for_what_is_done_and_renewed() {
    need!("tokens", "docker-registry");
    let server = TokenServer::start();
    let registry = Registry::start_with(json!({}), server.settings());
    let proxy = Proxy::start(registry.address);
    let layout = Layout::with_image(2, &[300_000, 1000]);
    let target = proxy.reference("team/app:v1");

    let mut home = Home::new();
    let (kind, text) = failure(push(&home, &layout, &target).unwrap_err());
    assert_eq!(
        kind,
        Kind::Denied,
        "anonymous users may pull but not push: {text}"
    );
    home.options.credentials = Some(ann("wrong"));
    let (kind, text) = failure(push(&home, &layout, &target).unwrap_err());
    assert_eq!(kind, Kind::Denied);
    assert!(text.contains("/token") && !text.contains("wrong"), "{text}");

    home.options.credentials = Some(ann("secret"));
    let before = server.asked().len();
    // A token that expires during a push, so that the registry sends another challenge.
    let challenge = format!(
        "Bearer realm=\"{}\",service=\"registry under test\"",
        server.realm()
    );
    let mut chunks = 0;
    proxy.rule(move |head| {
        chunks += usize::from(head.method() == "PATCH");
        let headers = vec![("WWW-Authenticate", challenge.clone())];
        (head.method() == "PATCH" && chunks == 3).then_some(Fault::Answer {
            status: "401 Unauthorized",
            headers,
        })
    });
    let report = push(&home, &layout, &target).unwrap();
    assert_eq!((report.authentications, report.retries), (2, 0));
    let asked = server.asked();
    for asked in &asked[before..] {
        assert_eq!(asked.user.as_deref(), Some("ann"));
        assert_eq!(asked.scopes, ["repository:team/app:pull,push"]);
    }
    run(check_whole(&home.client(), &target)).unwrap();

    // A mount must also be allowed to read the other repository.
    let before = server.asked().len();
    let report = push(&home, &layout, &proxy.reference("team/other:v1")).unwrap();
    assert_eq!(report.blobs.mounted, 3);
    let scopes: Vec<_> = server.asked()[before..]
        .iter()
        .map(|asked| asked.scopes.clone())
        .collect();
    let own = "repository:team/other:pull,push".to_owned();
    assert_eq!(
        scopes,
        [
            vec![own.clone()],
            vec![own, "repository:team/app:pull".to_owned()]
        ]
    );

    // A user who may not read there uploads instead.
    server.hidden.lock().unwrap().push("team/app".to_owned());
    let fresh = Layout::with_image(3, &[1000]);
    push(&home, &fresh, &proxy.reference("team/third:v1")).unwrap();
    let mount = push::Options {
        mount_from: vec!["team/app".to_owned()],
        ..options()
    };
    let target = proxy.reference("team/fourth:v1");
    let report = run(push::push(&home.client(), layout.source(), &target, &mount)).unwrap();
    assert_eq!(
        (report.blobs.mounted, report.blobs.uploaded),
        (3, 0),
        "from team/other, that is remembered"
    );
    let stranger = Home::new();
    let mut stranger_options = stranger.options.clone();
    stranger_options.credentials = Some(ann("secret"));
    let client = crateyard_registry::Client::new(stranger_options);
    let target = proxy.reference("team/fifth:v1");
    let report = run(push::push(&client, layout.source(), &target, &mount)).unwrap();
    assert_eq!((report.blobs.mounted, report.blobs.uploaded), (0, 3));
}

#[test]
fn refresh_tokens_and_registry_tokens() {
    need!("refresh tokens", "docker-registry");
    let server = TokenServer::start();
    let registry = Registry::start_with(json!({}), server.settings());
    let layout = Layout::with_image(4, &[1000]);
    let home = Home::new();
    let host = registry.address.to_string();
    home.docker_config(&json!({"auths": {host: {"identitytoken": REFRESH_TOKEN}}}));
    push(&home, &layout, &registry.reference("app:v1")).unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].method.as_str(), asked[0].user.as_deref()),
        ("POST", Some("ann"))
    );
    // If the registry rejects its own token, the result is an error and not a loop.
    let mut home = Home::new();
    home.options.credentials = Some(Credentials::RegistryToken("nonsense".to_owned()));
    let (kind, _) = failure(push(&home, &layout, &registry.reference("app:v1")).unwrap_err());
    assert_eq!(kind, Kind::Denied);
}

/// Makes a certificate authority with a server's and a client's certificate, as PEM files.
fn make_certificates(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "authority under test");
    std::fs::write(
        directory.join("ca.pem"),
        authority.self_signed(&authority_key).unwrap().pem(),
    )
    .unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    for (name, usage) in [
        ("server", ExtendedKeyUsagePurpose::ServerAuth),
        ("client", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut parameters =
            CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        parameters.extended_key_usages = vec![usage];
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn tls_with_an_authority_of_ones_own_and_client_certificates() {
    need!("tls", "docker-registry");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    make_certificates(directory.path());
    let layout = Layout::with_image(5, &[300_000]);
    let tls = json!({"tls": {"certificate": file("server.pem"), "key": file("server.key")}});
    let registry = Registry::start_with(tls.clone(), json!({}));
    let target = registry.reference("app:v1");

    let mut home = Home::new();
    let (kind, text) = failure(push(&home, &layout, &target).unwrap_err());
    assert_eq!(kind, Kind::Unreachable);
    assert!(
        text.contains("--ca-file") && text.contains("https://"),
        "{text}"
    );
    assert!(
        home.told.retries.lock().unwrap().is_empty(),
        "a certificate does not get better by waiting"
    );
    home.options.ca_files = vec![file("ca.pem")];
    assert_eq!(push(&home, &layout, &target).unwrap().blobs.uploaded, 2);
    run(check_whole(&home.client(), &target)).unwrap();
    home.options.ca_files = vec![file("server.key")];
    assert_eq!(push(&home, &layout, &target).unwrap_err().exit_code(), 2);

    // docker's directory for certificates, here for another registry that requires a client
    // certificate.
    let mut tls = tls;
    tls["tls"]["clientcas"] = json!([file("ca.pem")]);
    let registry = Registry::start_with(tls, json!({}));
    let target = registry.reference("app:v1");
    let mut home = Home::new();
    home.options.ca_files = vec![file("ca.pem")];
    assert!(
        push(&home, &layout, &target).is_err(),
        "it wants a certificate"
    );
    home.options.client_certificate = Some(ClientCertificate {
        certificate: file("client.pem"),
        key: file("client.key"),
    });
    push(&home, &layout, &target).unwrap();
    let home = Home::new();
    let certificates = home
        .directory
        .path()
        .join(".docker/certs.d")
        .join(registry.address.to_string());
    std::fs::create_dir_all(&certificates).unwrap();
    for (from, to) in [
        ("ca.pem", "ca.crt"),
        ("client.pem", "me.cert"),
        ("client.key", "me.key"),
    ] {
        std::fs::copy(file(from), certificates.join(to)).unwrap();
    }
    assert!(push(&home, &layout, &target).unwrap().unchanged);
}

#[test]
fn plain_http_is_for_this_machine_or_for_those_who_ask() {
    need!("plain http", "docker-registry");
    let registry = Registry::start();
    let layout = Layout::with_image(6, &[1000]);
    // This machine's host name does not count as local, so plain HTTP needs the option.
    let hostname = std::fs::read_to_string("/etc/hostname")
        .unwrap_or_default()
        .trim()
        .to_owned();
    let target = format!("{hostname}:{}/app:v1", registry.address.port()).parse::<Reference>();
    let Ok(target) = target else {
        crateyard_testing::skip("plain http", "this machine's name is not a host name");
        return;
    };
    use std::net::ToSocketAddrs;
    let address = (hostname.as_str(), registry.address.port());
    if !address
        .to_socket_addrs()
        .is_ok_and(|mut found| found.any(|it| it == registry.address))
    {
        crateyard_testing::skip(
            "plain http",
            "this machine's name does not lead to 127.0.0.1",
        );
        return;
    }
    let mut home = Home::new();
    let (_, text) = failure(push(&home, &layout, &target).unwrap_err());
    assert!(text.contains("https://"), "{text}");
    home.options.plain_http = true;
    push(&home, &layout, &target).unwrap();
}

#[test]
fn credentials_do_not_go_to_other_hosts() {
    need!("other hosts", "docker-registry");
    let directory = tempfile::tempdir().unwrap();
    let htpasswd = directory.path().join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let registry = Registry::start_with(
        json!({}),
        json!({"htpasswd": {"realm": "test", "path": htpasswd}}),
    );
    let proxy = Proxy::start(registry.address);
    let mut home = Home::new();
    home.options.credentials = Some(ann("secret"));
    let layout = Layout::with_image(7, &[1000]);
    push(&home, &layout, &proxy.reference("app:v1")).unwrap();
    // The registry redirects readers to another host, which would also want credentials.
    let other = Proxy::start(registry.address);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let shared = seen.clone();
    other.rule(move |head| {
        shared
            .lock()
            .unwrap()
            .push(head.header("authorization").map(str::to_owned));
        None
    });
    let place = other.address;
    proxy.rule(move |head| {
        let headers = vec![("Location", format!("http://{place}{}", head.path()))];
        (head.method() == "GET" && head.path().contains("/blobs/")).then_some(Fault::Answer {
            status: "307 Temporary Redirect",
            headers,
        })
    });
    let target = proxy.reference("app:v1");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let error = run(crateyard_registry::pull::pull(
        &home.client(),
        &target,
        &path,
        &crateyard_registry::pull::Options::default(),
    ));
    assert_eq!(failure(error.unwrap_err()).0, Kind::Denied);
    let seen = seen.lock().unwrap();
    assert!(
        !seen.is_empty() && seen.iter().all(Option::is_none),
        "{seen:?}"
    );
    assert!(count(&proxy.take(), "GET", "/blobs/") > 0);
}
