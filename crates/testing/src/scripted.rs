//! A server that answers by a script, over plain HTTP or TLS, for answers that no real registry
//! gives.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crateyard_oci::Reference;
use crateyard_registry::Client;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub use super::request::Seen;
use super::request::read;

/// An answer.
#[derive(Clone, Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    before_piece: Option<Arc<dyn Fn(usize) + Send + Sync>>,
}

/// The number of bytes of a body that are sent at once.
pub const PIECE: usize = 16 * 1024;

impl Answer {
    pub fn new(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }
}

impl Answer {
    /// Calls a function before each piece of the body, with the number of bytes sent so far.
    pub fn before_piece(mut self, call: impl Fn(usize) + Send + Sync + 'static) -> Answer {
        self.before_piece = Some(Arc::new(call));
        self
    }
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

/// The server. It answers one request on each connection.
pub struct Scripted {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// Starts one on loopback, over plain HTTP.
    pub fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Scripted {
        Scripted::start_at(IpAddr::from([127, 0, 0, 1]), None, script)
    }

    pub fn start_at(
        address: IpAddr,
        tls: Option<ServerConfig>,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (shared, script): (_, Arc<Script>) = (seen.clone(), Arc::new(script));
        let tls = tls.map(Arc::new);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, script, tls) = (shared.clone(), script.clone(), tls.clone());
                std::thread::spawn(move || {
                    let _ = match tls {
                        None => serve(stream, &shared, &*script),
                        Some(tls) => serve_tls(stream, tls, &shared, &*script),
                    };
                });
            }
        });
        Scripted { address, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    pub fn repository(&self, client: &Client, name: &str) -> crateyard_registry::Repository {
        client.repository(&self.reference(name)).unwrap()
    }
}

fn serve_tls(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    seen: &Mutex<Vec<Seen>>,
    script: &Script,
) -> io::Result<()> {
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    serve(StreamOwned::new(connection, stream), seen, script)
}

fn serve(stream: impl Read + Write, seen: &Mutex<Vec<Seen>>, script: &Script) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let request = read(&mut reader)?;
    seen.lock().unwrap().push(request.clone());
    let answer = script(&request);
    let mut head = format!(
        "HTTP/1.1 {} Scripted\r\nConnection: close\r\n",
        answer.status
    );
    head += &format!("Content-Length: {}\r\n", answer.body.len());
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let stream = reader.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if request.method != "HEAD" {
        for (at, piece) in answer.body.chunks(PIECE).enumerate() {
            if let Some(call) = &answer.before_piece {
                call(at * PIECE);
            }
            stream.write_all(piece)?;
            stream.flush()?;
        }
    }
    stream.flush()
}

/// Returns an address of this machine that is not loopback, so that clients take a registry there
/// for a remote one. Returns `None` without a network. Sends nothing.
pub fn elsewhere() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let places = [
        "198.51.100.1:9",
        "192.0.2.1:9",
        "10.0.0.1:9",
        "172.16.0.1:9",
    ];
    places.iter().find(|place| socket.connect(place).is_ok())?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Makes a TLS configuration for a server at `address`. Writes its certificate authority to
/// `authority`.
pub fn certify(address: IpAddr, authority: &Path) -> ServerConfig {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate for self-signed if it has its issuer's name.
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, "authority under test");
    let own = parameters.self_signed(&authority_key).unwrap();
    std::fs::write(authority, own.pem()).unwrap();
    let issuer = Issuer::new(parameters, authority_key);
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec![address.to_string()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}
