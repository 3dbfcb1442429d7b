//! A stand-in for Azure Key Vault and for the services that issue Azure's tokens, as their
//! documentation describes them: <https://learn.microsoft.com/rest/api/keyvault/keys>,
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>,
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources>.

use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::{Value, json};

use crate::kms::{Fault, Faults};
use crate::request::fields;
use crate::scripted::{Answer, Scripted, Seen, certify};

pub const TENANT: &str = "00000000-1111-2222-3333-444444444444";
pub const CLIENT: &str = "55555555-6666-7777-8888-999999999999";
pub const SECRET: &str = "s3cret~of~the~application";
/// A token of another system, which is as good as the application's secret.
pub const FEDERATED: &str = "s3cret.token.of-a-job";
/// The secret with which programs of App Service ask for tokens.
pub const IDENTITY_HEADER: &str = "s3cret-header";
/// The key `images` has these versions. The second is the newest.
pub const VERSIONS: [&str; 2] = [
    "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
    "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
];
/// Access tokens, by the credentials that they are for. The vault takes all of them.
pub const SECRET_TOKEN: &str = "eyJ.s3cret.application";
pub const FEDERATED_TOKEN: &str = "eyJ.s3cret.job";
pub const MACHINE_TOKEN: &str = "eyJ.s3cret.machine";
pub const APP_TOKEN: &str = "eyJ.s3cret.app";
pub const PERSON_TOKEN: &str = "eyJ.s3cret.person";

/// The services.
pub struct Azure {
    vault: Scripted,
    identity: Scripted,
    faults: Faults,
    directory: tempfile::TempDir,
}

impl Azure {
    /// Starts vault and login by TLS, and the service of managed identities by plain HTTP, all on
    /// loopback.
    pub fn start() -> Azure {
        let directory = tempfile::tempdir().unwrap();
        let here = IpAddr::from([127, 0, 0, 1]);
        let tls = certify(here, &directory.path().join("authority.pem"));
        let faults = Faults::default();
        let shared = faults.clone();
        let refused = |(status, code, text): (u16, &str, String)| {
            let error = json!({"error": {"code": code, "message": text}});
            let answer = Answer::new(status).body(error.to_string());
            // Azure's libraries ask without a token first, and want to be told where to get one.
            let resource = "resource=\"https://vault.azure.net\"";
            let challenge = format!("Bearer authorization=\"https://login/{TENANT}\", {resource}");
            answer.header("WWW-Authenticate", challenge)
        };
        let vault = Scripted::start_at(here, Some(tls), move |seen| {
            answer(seen, shared.now()).unwrap_or_else(refused)
        });
        let identity = Scripted::start(move |seen| managed(seen).unwrap_or_else(refused));
        Azure {
            vault,
            identity,
            faults,
            directory,
        }
    }

    /// Returns the host of the vault, for references.
    pub fn host(&self) -> String {
        self.vault.address.to_string()
    }

    /// Returns the value of `AZURE_AUTHORITY_HOST`.
    pub fn login(&self) -> String {
        format!("https://{}/", self.vault.address)
    }

    /// Returns the value of `AZURE_POD_IDENTITY_AUTHORITY_HOST`, whose `/msi/token` is a value of
    /// `IDENTITY_ENDPOINT`.
    pub fn identity(&self) -> String {
        format!("http://{}", self.identity.address)
    }

    /// Returns the file with the certificate authority.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// Returns the public key of a version, in PEM.
    pub fn public(&self, version: &str) -> String {
        let key = secret(version);
        key.verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .unwrap()
    }

    /// Makes the vault err.
    pub fn err(&self, fault: Fault) {
        self.faults.set(fault);
    }

    /// Returns all requests to vault and login.
    pub fn seen(&self) -> Vec<Seen> {
        self.vault.seen()
    }
}

type Outcome = Result<Answer, (u16, &'static str, String)>;

fn refuse(status: u16, code: &'static str, text: impl Into<String>) -> Outcome {
    Err((status, code, text.into()))
}

fn json_of(value: &Value) -> Outcome {
    Ok(Answer::new(200).body(value.to_string()))
}

fn answer(seen: &Seen, fault: Fault) -> Outcome {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    if path == format!("/{TENANT}/oauth2/v2.0/token") && seen.method == "POST" {
        return login(&String::from_utf8_lossy(&seen.body));
    }
    let host = seen.headers.get("host").map_or("", String::as_str);
    // Azure's libraries look for the login's addresses.
    if path == format!("/{TENANT}/v2.0/.well-known/openid-configuration") {
        let login = format!("https://{host}/{TENANT}/oauth2/v2.0");
        return json_of(&json!({
            "issuer": format!("https://{host}/{TENANT}/v2.0"),
            "authorization_endpoint": format!("{login}/authorize"),
            "token_endpoint": format!("{login}/token"),
        }));
    }
    let token = seen.bearer();
    let tokens = [
        SECRET_TOKEN,
        FEDERATED_TOKEN,
        MACHINE_TOKEN,
        APP_TOKEN,
        PERSON_TOKEN,
    ];
    if !token.is_some_and(|it| tokens.contains(&it)) {
        let token = token.unwrap_or_default();
        return refuse(
            401,
            "Unauthorized",
            format!("AKV10032: Invalid token {token}"),
        );
    }
    if query != "api-version=7.4" {
        return refuse(
            400,
            "BadParameter",
            "The request URI contains an invalid api-version",
        );
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (seen.method.as_str(), &parts[..]) {
        ("GET", ["keys", key] | ["keys", key, ""]) => read(host, key, VERSIONS[1]),
        ("GET", ["keys", key, version]) if VERSIONS.contains(version) => read(host, key, version),
        ("POST", ["keys", "images", version, "sign"]) if VERSIONS.contains(version) => {
            sign(host, version, seen, fault)
        }
        ("POST", ["keys", "denied", _, "sign"]) => refuse(
            403,
            "Forbidden",
            "Caller is not authorized to perform action on resource",
        ),
        _ => refuse(
            404,
            "KeyNotFound",
            "A key with (name/id) was not found in this key vault",
        ),
    }
}

/// Answers an application's request for a token.
fn login(form: &str) -> Outcome {
    let form = fields(form);
    let has = |name: &str, value: &str| form.iter().any(|(own, it)| own == name && it == value);
    if !has("grant_type", "client_credentials")
        || !has("client_id", CLIENT)
        || !has("scope", "https://vault.azure.net/.default")
    {
        return refuse(400, "invalid_request", "AADSTS900144");
    }
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let token = if has("client_secret", SECRET) {
        SECRET_TOKEN
    } else if has("client_assertion_type", kind) && has("client_assertion", FEDERATED) {
        FEDERATED_TOKEN
    } else {
        let given: String = form.iter().map(|(_, value)| format!(" {value}")).collect();
        return refuse(
            401,
            "invalid_client",
            format!("AADSTS7000215: no such secret:{given}"),
        );
    };
    json_of(&json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token}))
}

/// Answers a request for a token of the machine's identity.
fn managed(seen: &Seen) -> Outcome {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let query = fields(query);
    let value = |wanted: &str| {
        query
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, it)| &**it)
    };
    let header = |name: &str| seen.headers.get(name).map(String::as_str);
    let is_known = value("resource") == Some("https://vault.azure.net")
        && value("client_id").is_none_or(|it| it == CLIENT);
    match (path, value("api-version")) {
        ("/metadata/identity/oauth2/token", Some("2018-02-01"))
            if is_known && header("metadata") == Some("true") =>
        {
            let (token, kind) = (MACHINE_TOKEN, "Bearer");
            json_of(&json!({"access_token": token, "expires_in": "86399", "token_type": kind}))
        }
        ("/msi/token", Some("2019-08-01"))
            if is_known && header("x-identity-header") == Some(IDENTITY_HEADER) =>
        {
            let (token, kind) = (APP_TOKEN, "Bearer");
            json_of(&json!({"access_token": token, "expires_on": "4102444800", "token_type": kind}))
        }
        _ => refuse(400, "invalid_request", "Identity not found"),
    }
}

fn secret(version: &str) -> SigningKey {
    SigningKey::from_slice(version.as_bytes()).unwrap()
}

fn read(host: &str, key: &str, version: &str) -> Outcome {
    if key == "disabled" {
        return refuse(
            403,
            "Forbidden",
            "Operation get is not allowed on a disabled key.",
        );
    }
    let point = secret(version).verifying_key().to_encoded_point(false);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut found = json!({
        "kid": format!("https://{host}/keys/{key}/{version}"), "kty": "EC", "crv": "P-256",
        "key_ops": ["sign", "verify"],
        "x": encode(point.x().unwrap()), "y": encode(point.y().unwrap()),
    });
    match key {
        "images" | "denied" | "switched-off" => {}
        "wraps" => found["key_ops"] = json!(["wrapKey", "unwrapKey"]),
        "coins" => found["crv"] = "P-256K".into(),
        "stranger" => found["kid"] = format!("https://{host}/keys/images/{version}").into(),
        _ => {
            return refuse(
                404,
                "KeyNotFound",
                "A key with (name/id) was not found in this key vault",
            );
        }
    }
    let attributes = json!({"enabled": key != "switched-off", "created": 1});
    json_of(&json!({"key": found, "attributes": attributes}))
}

fn sign(host: &str, version: &str, seen: &Seen, fault: Fault) -> Outcome {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let digest = body["value"].as_str().unwrap_or_default();
    let mut digest = URL_SAFE_NO_PAD.decode(digest).unwrap_or_default();
    let wanted = json!({"alg": "ES256", "value": URL_SAFE_NO_PAD.encode(&digest)});
    if digest.len() != 32 || body != wanted {
        return refuse(
            400,
            "BadParameter",
            "Invalid length of 'value' for the algorithm.",
        );
    }
    if fault == Fault::OtherDigest {
        digest[0] ^= 1;
    }
    let [first, second] = VERSIONS;
    let other = if version == first { second } else { first };
    let key = secret(if fault == Fault::OtherKey {
        other
    } else {
        version
    });
    let signature: Signature = key.sign_prehash(&digest).unwrap();
    let (named, value) = match fault {
        Fault::OtherVersion => (other, URL_SAFE_NO_PAD.encode(signature.to_bytes())),
        Fault::Damaged => (version, "no signature".to_owned()),
        _ => (version, URL_SAFE_NO_PAD.encode(signature.to_bytes())),
    };
    json_of(&json!({"kid": format!("https://{host}/keys/images/{named}"), "value": value}))
}
