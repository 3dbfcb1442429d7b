//! Keys in [Azure Key Vault](https://learn.microsoft.com/rest/api/keyvault/keys) and in managed
//! HSMs.
//!
//! The two requests that signing needs do not justify Azure's library.

mod credentials;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::{Value, json};
use x509_cert::der::asn1::AnyRef;

use super::algorithm::{Algorithm, P256, P384};
use super::bearer::Bearer;
use super::{KINDS, Keeper, Variables, der, trouble};
use crate::http::Request;
use crate::{Error, PublicKey, Web};

/// The version of the interface. All clouds have it.
const INTERFACE: &str = "api-version=7.4";
const FORM: &str = "azurekms://VAULT.vault.azure.net/KEY, and /VERSION for one version";
const UNEXPECTED: &str = "the service answers something else";

/// A version of a key in a vault.
pub(super) struct Key {
    vault: Vault,
    /// The path of the version: `/keys/KEY/VERSION`.
    path: String,
}

/// A vault, as an owner of credentials sees it.
struct Vault {
    /// The name of the key, for messages.
    name: String,
    /// The address, without a slash at its end.
    address: String,
    bearer: Bearer,
    web: Web,
}

/// A cloud of Azure.
struct Cloud {
    /// The ends of its vaults' names.
    vaults: [&'static str; 2],
    /// The service that issues tokens.
    authority: &'static str,
}

/// The clouds, the public one first.
const CLOUDS: [Cloud; 3] = [
    Cloud {
        vaults: ["vault.azure.net", "managedhsm.azure.net"],
        authority: "https://login.microsoftonline.com",
    },
    Cloud {
        vaults: ["vault.azure.cn", "managedhsm.azure.cn"],
        authority: "https://login.chinacloudapi.cn",
    },
    Cloud {
        vaults: ["vault.usgovcloudapi.net", "managedhsm.usgovcloudapi.net"],
        authority: "https://login.microsoftonline.us",
    },
];

/// Finds a key: `HOST/KEY[/VERSION]`. Without a version it is the newest one.
///
/// # Errors
/// When the host is not a vault, credentials are missing, or the service can't be reached, refuses,
/// or has no such key.
pub(super) fn open(
    name: &str,
    reference: &str,
    variables: &Variables<'_>,
    web: &Web,
) -> Result<(Key, PublicKey), Error> {
    let wrong = |reason: &str| trouble(name, reason, FORM);
    let (host, path) = parse(reference).ok_or_else(|| wrong("it names no key of a vault"))?;
    let service = service(host)
        .ok_or_else(|| wrong("its host is not a vault of Azure's, so it gets no token"))?;
    let vault = Vault {
        name: name.to_owned(),
        address: format!("https://{host}"),
        bearer: credentials::find(name, &service, variables, web)?,
        web: web.clone(),
    };
    let (path, public) = vault.read_key(&path)?;
    Ok((Key { vault, path }, public))
}

/// Splits a reference into the host and the path of the key.
fn parse(reference: &str) -> Option<(&str, String)> {
    let (host, rest) = reference.split_once('/')?;
    let (key, version) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |it: &str| it.chars().all(|it| it.is_ascii_alphanumeric() || it == '-');
    if key.is_empty() || !is_name(key) || !is_name(version) {
        return None;
    }
    let path = format!("/keys/{key}/{version}");
    Some((host, path.trim_end_matches('/').to_owned()))
}

/// The service behind a host, for which tokens are issued.
struct Service {
    /// The address that tokens are for.
    resource: String,
    /// The service that issues them.
    authority: &'static str,
}

/// Returns the service behind a host, or `None` if it is not a vault of Azure's. An emulator may be
/// on this machine.
fn service(host: &str) -> Option<Service> {
    let found = CLOUDS.iter().find_map(|cloud| {
        let is_vault = |end: &&&str| {
            let label = host.strip_suffix(**end).and_then(|it| it.strip_suffix('.'));
            let known = |it: char| it.is_ascii_alphanumeric() || it == '-';
            label.is_some_and(|label| !label.is_empty() && label.chars().all(known))
        };
        let end = cloud.vaults.iter().find(is_vault)?;
        Some((*end, cloud.authority))
    });
    let here = || {
        let is_host = |it: char| it.is_ascii_alphanumeric() || ".:[]".contains(it);
        let is_here = crateyard_web::is_private(&format!("http://{host}/"));
        let is_here = is_here && host.chars().all(is_host);
        is_here.then_some((CLOUDS[0].vaults[0], CLOUDS[0].authority))
    };
    let (end, authority) = found.or_else(here)?;
    Some(Service {
        resource: format!("https://{end}"),
        authority,
    })
}

impl Vault {
    /// Reads a key. Returns the path of its version, and the public key.
    fn read_key(&self, path: &str) -> Result<(String, PublicKey), Error> {
        let answer = self.ask(path, None)?;
        let key = &answer["key"];
        if answer["attributes"]["enabled"] == false {
            let remedy = "az keyvault key set-attributes --enabled true, or another version";
            return Err(trouble(&self.name, "the key is disabled", remedy));
        }
        let operations = key["key_ops"].as_array();
        if operations.is_some_and(|it| !it.contains(&"sign".into())) {
            let reason = format!("its operations are {}", key["key_ops"]);
            return Err(trouble(&self.name, reason, "a key with the operation sign"));
        }
        let version = self.version(&key["kid"], path)?;
        let public = subject_public_key(key).ok_or_else(|| {
            let reason = format!("a key of the type {} can't sign here", key["kty"]);
            trouble(&self.name, reason, KINDS)
        })?;
        Ok((version, PublicKey::from_der(&public)?))
    }

    /// Returns the path of the version that an answer is about, if it is one of `path`. Vaults do
    /// not tell capitals from small letters.
    fn version(&self, kid: &Value, path: &str) -> Result<String, Error> {
        let unexpected = || trouble(&self.name, UNEXPECTED, "the address of the vault");
        let kid = kid.as_str().and_then(|it| Url::parse(it).ok());
        let kid = kid.ok_or_else(unexpected)?;
        let is_version = kid.path().split('/').filter(|it| !it.is_empty()).count() == 3;
        let (own, path) = (kid.path().to_ascii_lowercase(), path.to_ascii_lowercase());
        let rest = own.strip_prefix(&path);
        let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match is_version && is_own {
            true => Ok(kid.path().to_owned()),
            false => Err(unexpected()),
        }
    }

    fn ask(&self, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let url = format!("{}{path}?{INTERFACE}", self.address);
        let token = self.bearer.token()?;
        let header = format!("Bearer {token}");
        let request = Request::to(&url).header("authorization", &header);
        let mut request = request.secret(&token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.web.ask(&request)?.success(&url)?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }
}

/// Returns the `SubjectPublicKeyInfo` of a [JSON web
/// key](https://www.rfc-editor.org/rfc/rfc7518#section-6), in DER.
fn subject_public_key(key: &Value) -> Option<Vec<u8>> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
    let (curve, size) = match (key["kty"].as_str()?, key["crv"].as_str()) {
        ("RSA" | "RSA-HSM", _) => return der::rsa_key(&bytes("n")?, &bytes("e")?).ok(),
        ("EC" | "EC-HSM", Some("P-256")) => (&P256, 32),
        ("EC" | "EC-HSM", Some("P-384")) => (&P384, 48),
        _ => return None,
    };
    let (x, y) = (bytes("x")?, bytes("y")?);
    let point = [&[4], &x[..], &y[..]].concat();
    let is_point = x.len() == size && y.len() == size;
    is_point.then(|| der::ec_key(AnyRef::from(curve), &point).ok())?
}

impl Keeper for Key {
    fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let name = match algorithm {
            Algorithm::P256 => "ES256",
            Algorithm::P384 => "ES384",
            Algorithm::Rsa => "RS256",
        };
        let request = json!({"alg": name, "value": URL_SAFE_NO_PAD.encode(digest)});
        let answer = self
            .vault
            .ask(&format!("{}/sign", self.path), Some(&request))?;
        self.vault.version(&answer["kid"], &self.path)?;
        let signature = answer["value"].as_str();
        let signature = signature.and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
        let signature = match algorithm {
            Algorithm::Rsa => signature,
            _ => signature.and_then(|it| der::ecdsa(&it).ok()),
        };
        signature.ok_or_else(|| trouble(&self.vault.name, UNEXPECTED, "the address of the vault"))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::{parse, service, subject_public_key};

    #[test]
    fn references_name_a_key_and_perhaps_a_version() {
        let found = |path: &str| Some(("h:1", path.to_owned()));
        assert_eq!(parse("h:1/a-b"), found("/keys/a-b"));
        assert_eq!(parse("h:1/a/"), found("/keys/a"));
        assert_eq!(parse("h:1/a/0f"), found("/keys/a/0f"));
        for text in [
            "", "h", "h/", "h//1", "h/a/b/c", "h/..", "h/a?b", "h/a/..", "h/a%2fb",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn tokens_are_for_vaults_of_azure_alone() {
        for (host, resource, authority) in [
            (
                "team.vault.azure.net",
                "https://vault.azure.net",
                "login.microsoftonline.com",
            ),
            (
                "t-1.managedhsm.azure.net",
                "https://managedhsm.azure.net",
                "login.microsoftonline.com",
            ),
            (
                "t.vault.azure.cn",
                "https://vault.azure.cn",
                "login.chinacloudapi.cn",
            ),
            (
                "t.vault.usgovcloudapi.net",
                "https://vault.usgovcloudapi.net",
                "login.microsoftonline.us",
            ),
            (
                "localhost:8443",
                "https://vault.azure.net",
                "login.microsoftonline.com",
            ),
            (
                "127.0.0.1",
                "https://vault.azure.net",
                "login.microsoftonline.com",
            ),
        ] {
            let service = service(host).unwrap();
            assert_eq!(service.resource, resource);
            assert_eq!(service.authority, format!("https://{authority}"));
        }
        for host in [
            "vault.azure.net",
            ".vault.azure.net",
            "team.vault.azure.net:8443",
            "team.vault.azure.net.example",
            "teamvault.azure.net",
            "example#.vault.azure.net",
            "a@127.0.0.1",
            "127.0.0.1@example.org",
            "127.0.0.1#.vault.azure.net",
            "127.0.0.1?",
            "example.org",
            "",
        ] {
            assert!(service(host).is_none(), "{host}");
        }
    }

    #[test]
    fn public_keys_of_other_kinds_are_not_read() {
        let number = |length: usize| URL_SAFE_NO_PAD.encode(vec![1; length]);
        let key = |kind: &str, curve: &str, x: usize| {
            let key = json!({"kty": kind, "crv": curve, "x": number(x), "y": number(32)});
            subject_public_key(&key)
        };
        assert!(key("EC", "P-256", 32).is_some() && key("EC-HSM", "P-256", 32).is_some());
        assert!(key("EC", "P-256", 31).is_none() && key("EC", "P-384", 48).is_none());
        assert!(key("EC", "P-256K", 32).is_none() && key("oct", "P-256", 32).is_none());
        let rsa = json!({"kty": "RSA-HSM", "n": number(256), "e": "AQAB"});
        assert!(subject_public_key(&rsa).is_some());
        assert!(subject_public_key(&json!({"kty": "RSA"})).is_none());
    }
}
