//! A stand-in for Google Cloud KMS and for the services that issue Google's tokens, as their
//! documentation describes them: <https://cloud.google.com/kms/docs/reference/rest>,
//! <https://developers.google.com/identity/protocols/oauth2/service-account>,
//! <https://cloud.google.com/iam/docs/reference/sts/rest>.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use crc::{CRC_32_ISCSI, Crc};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::kms::{Fault, Faults};
use crate::request::fields;
use crate::scripted::{Answer, Scripted, Seen};

/// The key's resource name. Its versions 2, 9 and 10 are enabled, 11 is not.
pub const KEY: &str = "projects/team-1/locations/europe-west3/keyRings/releases/cryptoKeys/images";
/// The service account.
pub const EMAIL: &str = "signer@team-1.iam.gserviceaccount.com";
/// The token of a job of another system, which is exchanged for one of Google's.
pub const JOB_TOKEN: &str = "job.s3cret.token";
/// The secret with which the job asks for its token.
pub const JOB_SECRET: &str = "s3cret-of-the-job";
pub const REFRESH_TOKEN: &str = "1//s3cret-refresh";
pub const CLIENT_SECRET: &str = "s3cret-client";
/// Access tokens, by the credentials that they are for. The service takes all of them.
pub const ACCOUNT_TOKEN: &str = "ya29.s3cret-account";
pub const USER_TOKEN: &str = "ya29.s3cret-user";
pub const MACHINE_TOKEN: &str = "ya29.s3cret-machine";
pub const POOL_TOKEN: &str = "ya29.s3cret-pool";
pub const IMPERSONATED_TOKEN: &str = "ya29.s3cret-impersonated";
pub const OTHER_TOKEN: &str = "ya29.s3cret-other";

/// An RSA key that protects nothing: `openssl genpkey -algorithm RSA`.
const ACCOUNT_KEY: &str = include_str!("google/account.pem");
const ACCOUNT_KEY_ID: &str = "4711";
const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p";
const KMS_SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The services.
pub struct Google {
    server: Scripted,
    faults: Faults,
}

impl Google {
    /// Starts the services on loopback.
    pub fn start() -> Google {
        let faults = Faults::default();
        let shared = faults.clone();
        let server = Scripted::start(move |seen| {
            answer(seen, shared.now()).unwrap_or_else(|(status, text)| {
                let error = json!({"code": status, "message": text});
                Answer::new(status).body(json!({"error": error}).to_string())
            })
        });
        Google { server, faults }
    }

    /// Returns the value of `CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.server.address)
    }

    /// Returns the value of `GCE_METADATA_HOST`.
    pub fn host(&self) -> String {
        self.server.address.to_string()
    }

    /// Returns the public key of a version, in PEM.
    pub fn public(&self, version: u8) -> String {
        public(version)
    }

    /// Makes the service err.
    pub fn err(&self, fault: Fault) {
        self.faults.set(fault);
    }

    /// Returns all requests.
    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }

    /// Returns the file with the service account's key.
    pub fn account(&self) -> Value {
        json!({
            "type": "service_account", "project_id": "team-1", "client_email": EMAIL,
            "private_key_id": ACCOUNT_KEY_ID, "private_key": ACCOUNT_KEY,
            "token_uri": format!("{}token", self.url()), "universe_domain": "googleapis.com",
        })
    }

    /// Returns the file that `gcloud auth application-default login` leaves.
    pub fn user(&self) -> Value {
        json!({
            "type": "authorized_user", "client_id": "client", "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN, "token_uri": format!("{}token", self.url()),
            "quota_project_id": "team-1",
        })
    }

    /// Returns the file with which a job of another system gets tokens, as
    /// `google-github-actions/auth` writes it.
    pub fn pool(&self) -> Value {
        let url = self.url();
        json!({
            "type": "external_account", "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{url}v1/token"),
            "service_account_impersonation_url":
                format!("{url}v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"),
            "credential_source": {
                "url": format!("{url}job?audience=google"),
                "headers": {"Authorization": format!("Bearer {JOB_SECRET}")},
                "format": {"type": "json", "subject_token_field_name": "value"},
            },
        })
    }
}

type Outcome = Result<Answer, (u16, String)>;

fn refuse(status: u16, text: &str) -> Outcome {
    Err((status, text.to_owned()))
}

fn json_of(value: &Value) -> Outcome {
    Ok(Answer::new(200).body(value.to_string()))
}

fn answer(seen: &Seen, fault: Fault) -> Outcome {
    let form = String::from_utf8_lossy(&seen.body);
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let header = |name: &str| seen.headers.get(name).map(String::as_str);
    match (seen.method.as_str(), path) {
        ("POST", "/token") => token(&format!("http://{}/token", header("host").unwrap()), &form),
        ("POST", "/v1/token") => exchange(&form),
        ("POST", path)
            if path == format!("/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken") =>
        {
            let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
            let is_own = header("authorization") == Some(&*format!("Bearer {POOL_TOKEN}"));
            if !is_own || body["scope"] != json!([KMS_SCOPE]) || body["lifetime"] != "3600s" {
                return refuse(
                    403,
                    "Permission 'iam.serviceAccounts.getAccessToken' denied",
                );
            }
            json_of(
                &json!({"accessToken": IMPERSONATED_TOKEN, "expireTime": "2999-01-01T00:00:00Z"}),
            )
        }
        ("GET", "/job") if query == "audience=google" => {
            match header("authorization") == Some(&*format!("Bearer {JOB_SECRET}")) {
                true => json_of(&json!({"count": 1, "value": JOB_TOKEN})),
                false => refuse(401, "no such job"),
            }
        }
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") => {
            match header("metadata-flavor") == Some("Google") {
                true => json_of(&issued(MACHINE_TOKEN)),
                false => refuse(403, "Missing Metadata-Flavor:Google header."),
            }
        }
        (method, path) => kms(
            method,
            path.strip_prefix("/v1/").unwrap_or(path),
            query,
            seen,
            fault,
        ),
    }
}

fn issued(token: &str) -> Value {
    json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
}

/// Answers a request for a token of a service account or a person.
fn token(own: &str, form: &str) -> Outcome {
    let form = fields(form);
    let field = |wanted: &str| {
        let found = form.iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value.as_str())
    };
    match field("grant_type") {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => match is_signed(field("assertion"), own) {
            Some(true) => json_of(&issued(ACCOUNT_TOKEN)),
            _ => refuse(
                400,
                &format!("Invalid JWT Signature: {}", field("assertion")),
            ),
        },
        "refresh_token" => {
            let is_own = field("client_id") == "client"
                && field("client_secret") == CLIENT_SECRET
                && field("refresh_token") == REFRESH_TOKEN;
            match is_own {
                true => json_of(&issued(USER_TOKEN)),
                false => refuse(400, &format!("invalid_grant: {}", field("refresh_token"))),
            }
        }
        _ => refuse(400, "unsupported_grant_type"),
    }
}

/// Checks a service account's request for a token.
fn is_signed(assertion: &str, own: &str) -> Option<bool> {
    let (message, signature) = assertion.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let key = PrivateKeyDer::from_pem_slice(ACCOUNT_KEY.as_bytes()).ok()?;
    let key = RsaKeyPair::from_pkcs8(key.secret_der()).ok()?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    public.verify(message.as_bytes(), &signature).ok()?;
    let (header, claims) = message.split_once('.')?;
    let part = |text: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    };
    let (header, claims) = (part(header)?, part(claims)?);
    let now = std::time::UNIX_EPOCH.elapsed().ok()?.as_secs();
    let (begin, end) = (claims["iat"].as_u64()?, claims["exp"].as_u64()?);
    Some(
        header == json!({"alg": "RS256", "typ": "JWT", "kid": ACCOUNT_KEY_ID})
            && claims["iss"] == EMAIL
            && claims["scope"] == KMS_SCOPE
            && claims["aud"] == own
            && (now - 60..=now + 60).contains(&begin)
            && (now..=begin + 3600).contains(&end),
    )
}

/// Answers a request to exchange a token.
fn exchange(form: &str) -> Outcome {
    let wanted = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("audience", AUDIENCE),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("subject_token", JOB_TOKEN),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ];
    let form = fields(form);
    let has =
        |(name, value): &(&str, &str)| form.iter().any(|(own, it)| own == name && it == value);
    // Google's own libraries ask for one of these.
    let scopes = ["cloud-platform", "iam"];
    let scopes = scopes.map(|it| format!("https://www.googleapis.com/auth/{it}"));
    let has_scope = scopes.iter().any(|it| has(&("scope", it.as_str())));
    match form.len() == wanted.len() + 1 && has_scope && wanted.iter().all(has) {
        true => json_of(&issued(POOL_TOKEN)),
        false => refuse(400, "Invalid value for \"subject_token\""),
    }
}

fn kms(method: &str, path: &str, query: &str, seen: &Seen, fault: Fault) -> Outcome {
    let token = seen.bearer();
    let tokens = [
        ACCOUNT_TOKEN,
        USER_TOKEN,
        MACHINE_TOKEN,
        POOL_TOKEN,
        IMPERSONATED_TOKEN,
        OTHER_TOKEN,
    ];
    if !token.is_some_and(|it| tokens.contains(&it)) {
        let token = token.unwrap_or_default();
        return refuse(
            401,
            &format!("Request had invalid authentication credentials: {token}"),
        );
    }
    if token == Some(USER_TOKEN)
        && seen.headers.get("x-goog-user-project").map(String::as_str) != Some("team-1")
    {
        return refuse(
            403,
            "The cloudkms.googleapis.com API requires a quota project",
        );
    }
    let ring = KEY.trim_end_matches("images");
    match (method, path.strip_prefix(ring).unwrap_or_default()) {
        ("GET", "images/cryptoKeyVersions") => versions(query),
        ("GET", "disabled/cryptoKeyVersions") => json_of(&json!({})),
        ("GET", "images/cryptoKeyVersions/2/publicKey") => {
            public_key(path, "EC_SIGN_P256_SHA256", 2)
        }
        ("GET", "images/cryptoKeyVersions/10/publicKey") => {
            public_key(path, "EC_SIGN_P256_SHA256", 10)
        }
        ("GET", "decrypts/cryptoKeyVersions/1/publicKey") => {
            public_key(path, "RSA_DECRYPT_OAEP_2048_SHA256", 1)
        }
        ("GET", "images/cryptoKeyVersions/11/publicKey") => {
            let version = path.trim_end_matches("/publicKey");
            refuse(
                400,
                &format!("{version} is not enabled, current state is: DISABLED."),
            )
        }
        ("GET", "denied/cryptoKeyVersions/1/publicKey") => refuse(
            403,
            "Permission 'cloudkms.cryptoKeyVersions.viewPublicKey' denied",
        ),
        ("POST", "images/cryptoKeyVersions/2:asymmetricSign") => sign(path, 2, seen, fault),
        ("POST", "images/cryptoKeyVersions/10:asymmetricSign") => sign(path, 10, seen, fault),
        _ => refuse(404, "Requested entity was not found."),
    }
}

/// Lists the enabled versions, on two pages.
fn versions(query: &str) -> Outcome {
    let query = fields(query);
    let value = |wanted: &str| {
        query
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, it)| &**it)
    };
    if value("filter") != Some("state=ENABLED") {
        return refuse(400, "the stand-in lists enabled versions alone");
    }
    let version = |number: u8| {
        let name = format!("{KEY}/cryptoKeyVersions/{number}");
        json!({"name": name, "state": "ENABLED"})
    };
    match value("pageToken") {
        None => {
            json_of(&json!({"cryptoKeyVersions": [version(9)], "nextPageToken": "more & more"}))
        }
        Some("more & more") => json_of(&json!({"cryptoKeyVersions": [version(10), version(2)]})),
        Some(_) => refuse(400, "Invalid page token."),
    }
}

fn secret(version: u8) -> SigningKey {
    SigningKey::from_slice(&[version; 32]).unwrap()
}

fn public(version: u8) -> String {
    let key = secret(version);
    key.verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .unwrap()
}

fn public_key(path: &str, algorithm: &str, version: u8) -> Outcome {
    let pem = public(version);
    json_of(&json!({
        "name": path.trim_end_matches("/publicKey"), "algorithm": algorithm,
        "pemCrc32c": CHECKSUM.checksum(pem.as_bytes()).to_string(), "pem": pem,
        "protectionLevel": "SOFTWARE",
    }))
}

fn sign(path: &str, version: u8, seen: &Seen, fault: Fault) -> Outcome {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let digest = body["digest"]["sha256"].as_str().unwrap_or_default();
    let mut digest = STANDARD.decode(digest).unwrap_or_default();
    let sum = CHECKSUM.checksum(&digest).to_string();
    let wanted = json!({"digest": {"sha256": STANDARD.encode(&digest)}, "digestCrc32c": sum});
    if digest.len() != 32 || body != wanted {
        return refuse(
            400,
            "The digest is of the wrong length, or does not fit its checksum.",
        );
    }
    if fault == Fault::OtherDigest {
        digest[0] ^= 1;
    }
    let key = secret(if fault == Fault::OtherKey {
        99
    } else {
        version
    });
    let signature: DerSignature = key.sign_prehash(&digest).unwrap();
    let mut signature = signature.as_bytes().to_vec();
    let sum = CHECKSUM.checksum(&signature).to_string();
    if fault == Fault::Damaged {
        signature[9] ^= 1;
    }
    let name = path.trim_end_matches(":asymmetricSign");
    let name = match fault {
        Fault::OtherVersion => name.replace("Versions/", "Versions/7"),
        _ => name.to_owned(),
    };
    json_of(&json!({
        "name": name, "signature": STANDARD.encode(&signature), "signatureCrc32c": sum,
        "verifiedDigestCrc32c": fault != Fault::OtherDigest, "protectionLevel": "SOFTWARE",
    }))
}
