//! A stand-in for sigstore's services: a certificate authority (Fulcio) with a log of certificates,
//! a log of signatures (Rekor), and the trusted root for them. Tests can make it err.

mod authority;
mod log;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::scripted::{Answer, Scripted, Seen};
use authority::Authority;
use log::Log;

/// The issuer of the services' tokens.
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// The token with which a job requests its identity token.
pub const REQUEST_TOKEN: &str = "request token under test";

/// The faults of the services.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Certificates carry no timestamp of a log of certificates.
    pub no_sct: bool,
    /// Another key signs that timestamp.
    pub strange_sct: bool,
    /// Certificates do not allow signing code.
    pub not_for_code: bool,
    /// Certificates do not name the issuer of the token.
    pub no_issuer: bool,
    /// The log reports another time than the one that it has signed.
    pub strange_set: bool,
    /// The log enters this many seconds after the real time, or before it if negative.
    pub late: i64,
    /// Another key signs the root of the log's tree.
    pub strange_checkpoint: bool,
    /// The number of requests that get 503 before the services answer as usual.
    pub outages: u32,
    /// The certificate authority refuses requests.
    pub refuses: bool,
}

/// The services.
pub struct Sigstore {
    server: Scripted,
    state: Arc<State>,
}

struct State {
    authority: Authority,
    log: Log,
    faults: Mutex<Faults>,
}

impl Sigstore {
    /// Starts the services on loopback.
    pub fn start() -> Sigstore {
        let state = Arc::new(State {
            authority: Authority::new(),
            log: Log::new(),
            faults: Mutex::default(),
        });
        let own = state.clone();
        let server = Scripted::start(move |seen| own.answer(seen));
        Sigstore { server, state }
    }

    /// Returns the common address of all services.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Returns the address where a GitHub job requests a token.
    pub fn token_url(&self) -> String {
        format!("{}/token?api-version=2", self.url())
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }

    pub fn err(&self, faults: Faults) {
        *self.state.faults.lock().unwrap() = faults;
    }

    /// Returns the trusted root.
    pub fn trusted_root(&self) -> Value {
        let valid = json!({"start": "2020-01-01T00:00:00.000Z"});
        let key = |key: &Key| {
            let public = json!({
                "rawBytes": STANDARD.encode(key.der()),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": valid,
            });
            json!({
                "baseUrl": self.url(), "hashAlgorithm": "SHA2_256", "publicKey": public,
                "logId": {"keyId": STANDARD.encode(key.id())},
            })
        };
        let authority = &self.state.authority;
        let chain: Vec<Value> = authority
            .chain
            .iter()
            .map(|certificate| json!({"rawBytes": STANDARD.encode(certificate.der())}))
            .collect();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [key(&self.state.log.key)],
            "certificateAuthorities": [{
                "subject": {"organization": "sigstore under test", "commonName": "sigstore"},
                "uri": self.url(),
                "certChain": {"certificates": chain},
                "validFor": valid,
            }],
            "ctlogs": [key(&authority.log)],
        })
    }

    /// Returns the signing configuration, where `cosign sign` finds the services.
    pub fn signing_config(&self) -> Value {
        let service = |version: u32| {
            json!({
                "url": self.url(), "majorApiVersion": version,
                "validFor": {"start": "2020-01-01T00:00:00Z"}, "operator": "under test",
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service(1)],
            "rekorTlogUrls": [service(1)],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        })
    }

    /// Writes the files for programs that know no trusted root: the authority's certificates, and
    /// the keys of the logs of signatures and certificates.
    pub fn write_keys(&self, directory: &Path) -> [PathBuf; 3] {
        let pem = |key: &Key| {
            let body = STANDARD.encode(key.der());
            format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
        };
        let authority = &self.state.authority;
        let chain = authority
            .chain
            .iter()
            .map(rcgen::Certificate::pem)
            .collect();
        let texts = [chain, pem(&self.state.log.key), pem(&authority.log)];
        let names = ["fulcio.pem", "rekor.pub", "ctlog.pub"];
        let mut paths = names.map(|name| directory.join(name));
        for (path, text) in paths.iter_mut().zip(texts) {
            std::fs::write(path, text).unwrap();
        }
        paths
    }
}

/// Returns the token of a GitHub job that runs this workflow.
pub fn token(workflow: &str) -> String {
    let (repository, reference) = (workflow, workflow.rsplit('@').next().unwrap_or_default());
    let repository = repository.split('/').take(2).collect::<Vec<_>>().join("/");
    let claims = json!({
        "iss": ISSUER, "aud": "sigstore", "sub": format!("repo:{repository}:ref:{reference}"),
        "job_workflow_ref": workflow, "repository": repository, "ref": reference,
        "exp": now() + 600, "iat": now(),
    });
    let parts = [json!({"alg": "RS256", "typ": "JWT"}), claims];
    let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!(
        "{}.{}.{}",
        parts[0],
        parts[1],
        URL_SAFE_NO_PAD.encode("unsigned")
    )
}

impl State {
    fn answer(&self, seen: &Seen) -> Answer {
        let faults = {
            let mut faults = self.faults.lock().unwrap();
            if faults.outages > 0 {
                faults.outages -= 1;
                return Answer::new(503);
            }
            *faults
        };
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        match seen.path.as_str() {
            "/api/v2/signingCert" if faults.refuses => {
                Answer::new(401).body(r#"{"code":16,"message":"the token is not good enough"}"#)
            }
            "/api/v2/signingCert" => self.authority.answer(&body, seen.bearer(), &faults),
            "/api/v1/log/entries" => self.log.answer(&body, &faults),
            path if path.starts_with("/token?") && path.ends_with("&audience=sigstore") => {
                if seen.bearer() != Some(REQUEST_TOKEN) {
                    return Answer::new(401);
                }
                let workflow = "team/shop/.github/workflows/release.yml@refs/tags/v1";
                answer(200, &json!({"value": token(workflow)}))
            }
            _ => Answer::new(404),
        }
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer::new(status)
        .header("content-type", "application/json")
        .body(body.to_string())
}

fn now() -> i64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    time.as_secs() as i64
}

/// A key of a log.
struct Key(EcdsaKeyPair, Vec<u8>);

impl Key {
    fn new() -> Key {
        let pair = rcgen::KeyPair::generate().unwrap();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let own = EcdsaKeyPair::from_pkcs8(algorithm, &pair.serialize_der(), &SystemRandom::new());
        let public = rcgen::PublicKeyData::subject_public_key_info(&pair);
        Key(own.unwrap(), public)
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }

    fn der(&self) -> &[u8] {
        &self.1
    }

    fn id(&self) -> Vec<u8> {
        Sha256::digest(&self.1).to_vec()
    }
}
