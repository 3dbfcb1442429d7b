//! Google's [Application Default
//! Credentials](https://cloud.google.com/docs/authentication/application-default-credentials): the
//! places where its tools look for credentials, in their order.

mod federation;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use serde_json::{Value, json};

use self::federation::Federation;
use crate::http::Request;
use crate::keeper::bearer::{Access, Bearer};
use crate::keeper::{Variables, secret_file, trouble};
use crate::{Error, Web};

/// gcloud's variable for a token.
const TOKEN: &str = "CLOUDSDK_AUTH_ACCESS_TOKEN";
const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The variable for another address of the metadata server, as HOST or HOST:PORT.
const METADATA: &str = "GCE_METADATA_HOST";
/// The variable for the project that requests count for, if it is not the key's.
const QUOTA: &str = "GOOGLE_CLOUD_QUOTA_PROJECT";
/// The address of `metadata.google.internal`.
const METADATA_HOST: &str = "169.254.169.254";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// The permission that tokens have.
const SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The lifetime of a signed request for a token, in seconds.
const LIFETIME: i64 = 600;
const REMEDY: &str = "GOOGLE_APPLICATION_CREDENTIALS=FILE, or `gcloud auth application-default \
                      login`; in GitHub Actions, google-github-actions/auth; for other credentials \
                      CLOUDSDK_AUTH_ACCESS_TOKEN=$(gcloud auth print-access-token)";

/// The credentials of this process.
pub(super) struct Credentials {
    pub bearer: Bearer,
    /// The project that requests count for. Google requires one of people.
    pub quota_project: Option<String>,
}

/// The origin of tokens.
enum Origin {
    Account(Account),
    User(User),
    Federation(Federation),
    Metadata { host: String },
}

/// A service account with its key.
struct Account {
    email: String,
    key: Arc<dyn SigningKey>,
    key_id: Option<String>,
    token_url: String,
}

/// A person who has logged in.
struct User {
    client: String,
    client_secret: String,
    refresh_token: String,
    token_url: String,
}

/// Finds the credentials of this process.
///
/// # Errors
/// When a file of credentials can't be read, or is of a kind that is not supported. No error quotes
/// a secret.
pub(super) fn find(name: &str, variables: &Variables<'_>, web: &Web) -> Result<Credentials, Error> {
    let quota_project = variables(QUOTA);
    if let Some(token) = variables(TOKEN) {
        let access = Access::of(token.trim().to_owned());
        return Ok(Credentials {
            bearer: Bearer::new(move || Ok(access.clone())),
            quota_project,
        });
    }
    let set = variables(FILE).map(PathBuf::from);
    let (origin, own_project) = match set.or_else(|| well_known(variables)) {
        Some(path) => from_file(&path).map_err(|reason| {
            let reason = format!("the credentials in {} {reason}", path.display());
            trouble(name, reason, REMEDY)
        })?,
        None => {
            let host = variables(METADATA).unwrap_or_else(|| METADATA_HOST.to_owned());
            (Origin::Metadata { host }, None)
        }
    };
    let (name, web) = (name.to_owned(), web.clone());
    Ok(Credentials {
        bearer: Bearer::new(move || match &origin {
            Origin::Account(account) => account.ask(&name, &web),
            Origin::User(user) => user.ask(&web),
            Origin::Federation(federation) => federation.ask(&name, &web),
            Origin::Metadata { host } => ask_metadata(&name, host, &web),
        }),
        quota_project: quota_project.or(own_project),
    })
}

/// Returns the file that `gcloud auth application-default login` leaves, if it is there.
fn well_known(variables: &Variables<'_>) -> Option<PathBuf> {
    let own = variables("CLOUDSDK_CONFIG").map(PathBuf::from);
    let directory = own.or_else(|| Some(PathBuf::from(variables("HOME")?).join(".config/gcloud")));
    let file = directory?.join("application_default_credentials.json");
    file.exists().then_some(file)
}

/// Reads a file of credentials, and the project that it names for its requests. The error continues
/// "the credentials in FILE".
fn from_file(path: &Path) -> Result<(Origin, Option<String>), String> {
    let text = secret_file(path).map_err(|error| format!("can't be read: {error}"))?;
    // The error of a JSON parser may quote a secret.
    let file: Value = serde_json::from_str(&text).map_err(|_| "are no JSON")?;
    if let Some(universe) = file["universe_domain"].as_str() {
        if universe != "googleapis.com" {
            return Err(format!("are for {universe:?}, not googleapis.com"));
        }
    }
    let origin = match file["type"].as_str() {
        Some("service_account") => Account::read(&file).map(Origin::Account),
        Some("authorized_user") => User::read(&file).map(Origin::User),
        Some("external_account") => Federation::read(&file).map(Origin::Federation),
        Some(kind) => Err(format!("are of the type {kind:?}, which is not supported")),
        None => Err("have no type".to_owned()),
    };
    Ok((origin?, field(&file, "quota_project_id").ok()))
}

/// Returns a text of a file of credentials.
fn field(file: &Value, name: &str) -> Result<String, String> {
    let text = file[name].as_str().filter(|it| !it.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| format!("have no {name}"))
}

/// Returns an address of a file of credentials, which secrets are sent to. It must be Google's, or
/// on this machine.
fn address(file: &Value, name: &str, default: Option<&str>) -> Result<String, String> {
    let text = match (file.get(name), default) {
        (None, Some(default)) => default.to_owned(),
        _ => field(file, name)?,
    };
    let url = Url::parse(&text).map_err(|error| format!("have a damaged {name}: {error}"))?;
    let host = url.host_str().unwrap_or_default();
    let is_googles = host == "accounts.google.com" || host.ends_with(".googleapis.com");
    let is_fine = match url.scheme() {
        "https" => is_googles,
        _ => crateyard_web::is_private(&text),
    };
    match is_fine {
        true => Ok(text),
        false => Err(format!(
            "name {text:?} as {name}, which is not an address of Google's"
        )),
    }
}

impl Account {
    fn read(file: &Value) -> Result<Account, String> {
        let damaged = "have a damaged private_key: it is not an RSA key in PEM";
        let key = field(file, "private_key")?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| damaged)?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| damaged)?;
        Ok(Account {
            email: field(file, "client_email")?,
            key,
            key_id: field(file, "private_key_id").ok(),
            token_url: address(file, "token_uri", Some(TOKEN_URL))?,
        })
    }

    /// Asks for a token with a [signed
    /// request](https://developers.google.com/identity/protocols/oauth2/service-account).
    fn ask(&self, name: &str, web: &Web) -> Result<Access, Error> {
        let assertion = self.assertion(Timestamp::now().as_second());
        let assertion = assertion.ok_or_else(|| {
            let reason = "the private_key of the service account is not an RSA key";
            trouble(name, reason, REMEDY)
        })?;
        let fields = [("grant_type", JWT_BEARER), ("assertion", &assertion)];
        let request = Request::to(&self.token_url).form(&fields);
        Access::ask(web, &self.token_url, &request.secret(&assertion))
    }

    fn assertion(&self, now: i64) -> Option<String> {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_url,
            "iat": now, "exp": now + LIFETIME,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signer = self
            .key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?;
        let signature = signer.sign(message.as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl User {
    fn read(file: &Value) -> Result<User, String> {
        Ok(User {
            client: field(file, "client_id")?,
            client_secret: field(file, "client_secret")?,
            refresh_token: field(file, "refresh_token")?,
            token_url: address(file, "token_uri", Some(TOKEN_URL))?,
        })
    }

    fn ask(&self, web: &Web) -> Result<Access, Error> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client),
            ("client_secret", &self.client_secret),
            ("refresh_token", &self.refresh_token),
        ];
        let request = Request::to(&self.token_url).form(&fields);
        let request = request
            .secret(&self.client_secret)
            .secret(&self.refresh_token);
        Access::ask(web, &self.token_url, &request)
    }
}

/// Asks the [metadata server](https://cloud.google.com/compute/docs/metadata/overview) of a machine
/// of Google's for the token of its service account.
fn ask_metadata(name: &str, host: &str, web: &Web) -> Result<Access, Error> {
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let request = Request::to(&url)
        .header("metadata-flavor", "Google")
        .nearby();
    Access::ask(web, &url, &request).map_err(|error| {
        let reason = format!("no credentials are set, and the metadata server gives none: {error}");
        trouble(name, reason, REMEDY)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::address;

    #[test]
    fn secrets_go_to_google_alone() {
        for url in [
            "https://oauth2.googleapis.com/token",
            "https://accounts.google.com/o/oauth2/token",
            "https://sts.europe-west3.rep.googleapis.com/v1/token",
            "http://127.0.0.1:8080/token",
        ] {
            let file = json!({"token_uri": url});
            assert_eq!(address(&file, "token_uri", None).as_deref(), Ok(url));
        }
        for url in [
            "https://googleapis.com.example/token",
            "https://oauth2googleapis.com/token",
            "https://oauth2.googleapis.com@example.com/token",
            "https://127.0.0.1/token",
            "http://oauth2.googleapis.com/token",
            "http://169.254.169.254/token",
            "file:///etc/passwd",
        ] {
            let file = json!({"token_uri": url});
            let said = address(&file, "token_uri", Some("https://a")).unwrap_err();
            assert!(said.contains("not an address of Google's"), "{url}: {said}");
        }
    }
}
