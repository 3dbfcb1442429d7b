//! Keys in the [transit engine](https://developer.hashicorp.com/vault/api-docs/secret/transit) of
//! Vault or OpenBao.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::path::PathBuf;

use super::algorithm::Algorithm;
use super::{Keeper, Variables, secret_file, trouble};
use crate::http::Request;
use crate::{Error, PublicKey, Web};

const DEFAULT_ENGINE: &str = "transit";

/// A key in a transit engine.
pub(super) struct Transit {
    name: String,
    /// The engine's address, without a slash at its end.
    engine: String,
    key: String,
    /// The key's version. A key that is rotated meanwhile gets another one.
    version: u64,
    headers: Vec<(&'static str, String)>,
    web: Web,
}

/// Finds a key by its name.
///
/// # Errors
/// When the service is not named or can't be reached, refuses, or has no such key.
pub(super) fn open(
    name: &str,
    key: &str,
    variables: &Variables<'_>,
    web: &Web,
) -> Result<(Transit, PublicKey), Error> {
    let is_name = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
    if key.is_empty() || key.starts_with('.') || !key.chars().all(is_name) {
        let reason = "the name of the key has other characters than letters, digits, _, - and .";
        return Err(trouble(name, reason, "hashivault://KEY"));
    }
    // Both services understand both sets of variables. A token must not go to another service than
    // its own, so all are taken from the set that names the address.
    let sets = match name.starts_with("openbao") {
        true => ["BAO", "VAULT"],
        false => ["VAULT", "BAO"],
    };
    let has_address = |set: &&str| variables(&format!("{set}_ADDR")).is_some();
    let set = sets.into_iter().find(has_address).unwrap_or(sets[0]);
    let either = |suffix: &str| variables(&format!("{set}_{suffix}"));
    let missing = |what: &str, remedy: &str| trouble(name, format!("{what} is not set"), remedy);
    let address = either("ADDR");
    let address =
        address.ok_or_else(|| missing("the address", "VAULT_ADDR=https://vault.example:8200"))?;
    let token = either("TOKEN").or_else(|| token_of_home(variables));
    let token = token.ok_or_else(|| missing("a token", "VAULT_TOKEN=…, or `vault login`"))?;
    let mut headers = vec![("x-vault-token", token)];
    headers.extend(either("NAMESPACE").map(|namespace| ("x-vault-namespace", namespace)));
    let mut web = web.clone();
    web.ca_files.extend(either("CACERT").map(PathBuf::from));
    let engine = variables("TRANSIT_SECRET_ENGINE_PATH");
    let engine = engine.as_deref().unwrap_or(DEFAULT_ENGINE);
    let mut transit = Transit {
        name: name.to_owned(),
        engine: format!(
            "{}/v1/{}",
            address.trim_end_matches('/'),
            engine.trim_matches('/')
        ),
        key: key.to_owned(),
        version: 0,
        headers,
        web,
    };
    let public = transit.read_key()?;
    Ok((transit, public))
}

/// Returns the token that `vault login` leaves.
fn token_of_home(variables: &Variables<'_>) -> Option<String> {
    let file = PathBuf::from(variables("HOME")?).join(".vault-token");
    let token = secret_file(&file).ok()?;
    Some(token.trim().to_owned()).filter(|it| !it.is_empty())
}

impl Transit {
    /// Reads the newest version of the key and its public key.
    fn read_key(&mut self) -> Result<PublicKey, Error> {
        let answer = self.ask(&format!("keys/{}", self.key), None)?;
        let version = answer["latest_version"].as_u64().unwrap_or_default();
        let public = answer["keys"][version.to_string()]["public_key"].as_str();
        // Vault gives Ed25519 keys as base 64 without a frame, and symmetric keys not at all.
        let public = public.filter(|it| it.starts_with("-----BEGIN"));
        let public = public.ok_or_else(|| {
            let kind = answer["type"].as_str().unwrap_or("unknown");
            trouble(
                &self.name,
                format!("a key of the type {kind:?} can't sign here"),
                "a key of the type ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096",
            )
        })?;
        self.version = version;
        PublicKey::from_pem(public)
    }

    /// Returns the `data` of an answer.
    fn ask(&self, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let url = format!("{}/{path}", self.engine);
        let mut request = Request::to(&url);
        for (name, value) in &self.headers {
            request = request.header(name, value).secret(value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.web.ask(&request)?.success(&url)?;
        let mut answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(answer["data"].take())
    }
}

impl Keeper for Transit {
    fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let hash = match algorithm {
            Algorithm::P256 | Algorithm::Rsa => "sha2-256",
            Algorithm::P384 => "sha2-384",
        };
        let request = json!({
            "input": BASE64.encode(digest),
            "prehashed": true,
            "key_version": self.version,
            "marshaling_algorithm": "asn1",
            "signature_algorithm": "pkcs1v15",
        });
        let answer = self.ask(&format!("sign/{}/{hash}", self.key), Some(&request))?;
        // The format is vault:VERSION:SIGNATURE.
        let signature = answer["signature"].as_str();
        let signature = signature.and_then(|it| it.rsplit(':').next());
        let signature = signature.and_then(|it| BASE64.decode(it).ok());
        signature.ok_or_else(|| {
            let reason = "the service answers no signature";
            trouble(&self.name, reason, "the service's log")
        })
    }
}
