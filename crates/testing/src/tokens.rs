//! A token server for docker-registry. It checks names and passwords, and signs tokens.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::request;

pub const SERVICE: &str = "registry under test";
pub const ISSUER: &str = "token server under test";
pub const REFRESH_TOKEN: &str = "refresh & token";

/// A request for a token: method, scopes, user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub scopes: Vec<String>,
    pub user: Option<String>,
}

pub struct TokenServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Repositories that nobody may read.
    pub hidden: Arc<Mutex<Vec<String>>>,
    directory: tempfile::TempDir,
}

struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
}

impl TokenServer {
    /// Starts one that knows the user ann with the password "secret", and the refresh token.
    pub fn start() -> TokenServer {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("roots.pem"), certificate.pem()).unwrap();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let signer = Signer {
            key: EcdsaKeyPair::from_pkcs8(algorithm, &key.serialize_der(), &SystemRandom::new())
                .unwrap(),
            certificate: STANDARD.encode(certificate.der()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let hidden = Arc::<Mutex<Vec<String>>>::default();
        let (shared, shared_hidden) = (asked.clone(), hidden.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &signer, &shared, &shared_hidden);
            }
        });
        TokenServer {
            address,
            asked,
            hidden,
            directory,
        }
    }

    /// Returns the settings that make docker-registry accept its tokens.
    pub fn settings(&self) -> Value {
        let roots: PathBuf = self.directory.path().join("roots.pem");
        json!({"token": {
            "realm": self.realm(), "service": SERVICE, "issuer": ISSUER, "rootcertbundle": roots,
        }})
    }

    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    signer: &Signer,
    asked: &Mutex<Vec<Asked>>,
    hidden: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let request = request::read(&mut reader)?;
    let (method, authorization) = (request.method, request.authorization);
    let body = String::from_utf8(request.body).map_err(std::io::Error::other)?;
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let fields = request::fields(if method == "POST" { &body } else { query });
    let scopes: Vec<String> = fields
        .iter()
        .filter(|(name, _)| name == "scope")
        .flat_map(|(_, value)| value.split(' ').map(str::to_owned))
        .collect();
    let field = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    let user = match (method.as_str(), authorization) {
        ("POST", _) if field("refresh_token") == Some(REFRESH_TOKEN) => Some("ann".to_owned()),
        ("GET", Some(value)) if value == format!("Basic {}", STANDARD.encode("ann:secret")) => {
            Some("ann".to_owned())
        }
        ("GET", None) => None,
        _ => {
            return respond(
                reader.get_mut(),
                "401 Unauthorized",
                &json!({"errors": [{"code": "DENIED"}]}),
            );
        }
    };
    let is_hidden = |scope: &String| {
        let hidden = hidden.lock().unwrap();
        scope
            .split(':')
            .nth(1)
            .is_some_and(|repository| hidden.iter().any(|it| it == repository))
    };
    asked.lock().unwrap().push(Asked {
        method,
        scopes: scopes.clone(),
        user: user.clone(),
    });
    if scopes.iter().any(is_hidden) {
        return respond(reader.get_mut(), "403 Forbidden", &json!({}));
    }
    let token = sign(signer, user.as_deref(), &scopes);
    respond(
        reader.get_mut(),
        "200 OK",
        &json!({"token": token, "expires_in": 300}),
    )
}

fn respond(stream: &mut TcpStream, status: &str, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Signs a token. ann may do everything; anonymous users may only read.
fn sign(signer: &Signer, user: Option<&str>, scopes: &[String]) -> String {
    let access: Vec<Value> = scopes
        .iter()
        .filter_map(|scope| {
            let mut parts = scope.split(':');
            let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
            let may = |action: &&str| user.is_some() || *action == "pull";
            let actions: Vec<&str> = actions.split(',').filter(may).collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [signer.certificate]});
    let claims = json!({
        "iss": ISSUER, "sub": user.unwrap_or_default(), "aud": SERVICE,
        "nbf": now - 10, "iat": now - 10, "exp": now + 300, "jti": now.to_string(),
        "access": access,
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&header), encode(&claims));
    let signature = signer
        .key
        .sign(&SystemRandom::new(), text.as_bytes())
        .unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}
