//! Keys in [Google Cloud KMS](https://cloud.google.com/kms/docs/reference/rest).
//!
//! The three requests that signing needs do not justify Google's library, which brings gRPC along.

mod credentials;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc::{CRC_32_ISCSI, Crc};
use serde_json::{Value, json};

use self::credentials::Credentials;
use super::algorithm::Algorithm;
use super::{Keeper, Variables, trouble};
use crate::http::{Request, encode};
use crate::{Error, PublicKey, Web};

const SERVICE: &str = "https://cloudkms.googleapis.com";
/// gcloud's variable for another address of the service.
const ENDPOINT: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS";
const FORM: &str = "gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, and \
                    /cryptoKeyVersions/NUMBER for one version";
/// The kinds of keys that sign here, in Google's words.
const KINDS: &str = "a key of the algorithm EC_SIGN_P256_SHA256, EC_SIGN_P384_SHA384 or \
                     RSA_SIGN_PKCS1_…_SHA256";
/// The largest number of pages of a list of versions. A page has at most 1,000 of them.
const MAX_PAGES: usize = 100;
/// The checksum in requests and answers, CRC32C.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A version of a key in Google Cloud KMS.
pub(super) struct Kms {
    service: Service,
    /// Its resource name.
    version: String,
}

/// The service, as an owner of credentials sees it.
struct Service {
    /// The name of the key, for messages.
    name: String,
    /// The address, without a slash at its end.
    address: String,
    credentials: Credentials,
    web: Web,
}

/// Finds a key: `projects/…/cryptoKeys/KEY[/cryptoKeyVersions/NUMBER]`. Without a version it is the
/// newest one that is enabled.
///
/// # Errors
/// When credentials are missing, or the service can't be reached, refuses, or has no such key.
pub(super) fn open(
    name: &str,
    reference: &str,
    variables: &Variables<'_>,
    web: &Web,
) -> Result<(Kms, PublicKey), Error> {
    let (key, version) = parse(reference).ok_or_else(|| trouble(name, "it names no key", FORM))?;
    let address = variables(ENDPOINT);
    let address = address.as_deref().unwrap_or(SERVICE).trim_end_matches('/');
    let service = Service {
        name: name.to_owned(),
        address: format!("{address}/v1"),
        credentials: credentials::find(name, variables, web)?,
        web: web.clone(),
    };
    let version = match version {
        Some(version) => version,
        None => service.newest_version(&key)?,
    };
    let version = format!("{key}/cryptoKeyVersions/{version}");
    let public = service.public_key(&version)?;
    Ok((Kms { service, version }, public))
}

/// Splits a reference into the resource name of the key, and the number of the version. cosign
/// knows both words for versions.
fn parse(reference: &str) -> Option<(String, Option<u64>)> {
    let parts: Vec<&str> = reference.split('/').collect();
    let (key, version) = match parts[..] {
        [
            "projects",
            _,
            "locations",
            _,
            "keyRings",
            _,
            "cryptoKeys",
            _,
        ] => (&parts[..], None),
        [
            "projects",
            _,
            "locations",
            _,
            "keyRings",
            _,
            "cryptoKeys",
            _,
            word,
            version,
        ] if ["cryptoKeyVersions", "versions"].contains(&word) => (&parts[..8], Some(version)),
        _ => return None,
    };
    let is_name = |it: &&str| {
        // A project of an organization has its domain in its name: example.com:project.
        let known = |it: char| it.is_ascii_alphanumeric() || "_-.:".contains(it);
        !it.is_empty() && !it.starts_with('.') && it.chars().all(known)
    };
    if !key.iter().all(is_name) {
        return None;
    }
    let version = version.map(str::parse).transpose().ok()?;
    Some((key.join("/"), version))
}

impl Service {
    /// Returns the number of the newest version that is enabled.
    fn newest_version(&self, key: &str) -> Result<u64, Error> {
        let list = format!("{key}/cryptoKeyVersions?pageSize=1000&filter=state%3DENABLED");
        let (mut path, mut newest) = (list.clone(), None);
        for _ in 0..MAX_PAGES {
            let page = self.ask(&path, None)?;
            let versions = page["cryptoKeyVersions"].as_array().into_iter().flatten();
            let enabled = versions.filter(|it| it["state"] == "ENABLED");
            let numbers =
                enabled.filter_map(|it| it["name"].as_str()?.rsplit('/').next()?.parse().ok());
            newest = newest.max(numbers.max());
            match page["nextPageToken"].as_str() {
                Some(token) if !token.is_empty() => {
                    path = format!("{list}&pageToken={}", encode(token));
                }
                _ => break,
            }
        }
        newest.ok_or_else(|| {
            let remedy = "gcloud kms keys versions list, and enable one of them";
            trouble(&self.name, "none of its versions is enabled", remedy)
        })
    }

    fn public_key(&self, version: &str) -> Result<PublicKey, Error> {
        let answer = self.ask(&format!("{version}/publicKey"), None)?;
        let algorithm = answer["algorithm"].as_str().unwrap_or("unknown");
        let is_rsa = algorithm.starts_with("RSA_SIGN_PKCS1_") && algorithm.ends_with("_SHA256");
        if !is_rsa && !["EC_SIGN_P256_SHA256", "EC_SIGN_P384_SHA384"].contains(&algorithm) {
            let reason = format!("a key of the algorithm {algorithm:?} can't sign here");
            return Err(trouble(&self.name, reason, KINDS));
        }
        let pem = answer["pem"].as_str().unwrap_or_default();
        if !is_same_version(&answer["name"], version)
            || checksum(&answer["pemCrc32c"]) != Some(CHECKSUM.checksum(pem.as_bytes()))
        {
            return Err(self.damaged("its answer about the public key"));
        }
        PublicKey::from_pem(pem)
    }

    fn ask(&self, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let url = format!("{}/{path}", self.address);
        let token = self.credentials.bearer.token()?;
        let header = format!("Bearer {token}");
        let request = Request::to(&url).header("authorization", &header);
        let mut request = request.secret(&token);
        if let Some(project) = &self.credentials.quota_project {
            request = request.header("x-goog-user-project", project);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.web.ask(&request)?.success(&url)?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    fn damaged(&self, what: &str) -> Error {
        let reason = format!("{what} does not fit its checksum, or is about another version");
        trouble(
            &self.name,
            reason,
            "it again, and the address of the service",
        )
    }
}

/// Reads a checksum. JSON of Google's has numbers of 64 bits as text.
fn checksum(value: &Value) -> Option<u32> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number?.try_into().ok()
}

/// Whether an answer is about this version. A project has two names, so they are not compared.
fn is_same_version(name: &Value, version: &str) -> bool {
    let path = |name: &str| name.find("/locations/").map(|at| name[at..].to_owned());
    name.as_str()
        .is_some_and(|name| path(name) == path(version))
}

impl Keeper for Kms {
    fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let hash = match algorithm {
            Algorithm::P256 | Algorithm::Rsa => "sha256",
            Algorithm::P384 => "sha384",
        };
        let request = json!({
            "digest": {hash: BASE64.encode(digest)},
            "digestCrc32c": CHECKSUM.checksum(digest).to_string(),
        });
        let path = format!("{}:asymmetricSign", self.version);
        let answer = self.service.ask(&path, Some(&request))?;
        if answer["verifiedDigestCrc32c"] != true {
            return Err(self.service.damaged("the digest that arrived there"));
        }
        let signature = answer["signature"].as_str();
        let signature = signature
            .and_then(|it| BASE64.decode(it).ok())
            .unwrap_or_default();
        if !is_same_version(&answer["name"], &self.version)
            || checksum(&answer["signatureCrc32c"]) != Some(CHECKSUM.checksum(&signature))
        {
            return Err(self.service.damaged("the signature"));
        }
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::{CHECKSUM, is_same_version, parse};

    #[test]
    fn references_name_a_key_and_perhaps_a_version() {
        let key = "projects/example.com:team-1/locations/global/keyRings/r_1/cryptoKeys/k";
        for (rest, version) in [
            ("", None),
            ("/cryptoKeyVersions/12", Some(12)),
            ("/versions/3", Some(3)),
        ] {
            let parsed = parse(&format!("{key}{rest}"));
            assert_eq!(parsed, Some((key.to_owned(), version)), "{rest}");
        }
        for rest in [
            "/",
            "/versions",
            "/versions/",
            "/versions/a",
            "/cryptoKeyVersions/1/x",
            "?a",
        ] {
            assert_eq!(parse(&format!("{key}{rest}")), None, "{rest}");
        }
        for name in ["", "..", "a?b", "a b", "a%2f"] {
            let other = key.replace("r_1", name);
            assert_eq!(parse(&other), None, "{other}");
        }
        assert_eq!(parse("alias/k"), None);
    }

    #[test]
    fn checksums_are_castagnolis() {
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_version_is_the_same_under_both_names_of_the_project() {
        let version = "projects/team/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1";
        let is_same = |name: &str| is_same_version(&name.into(), version);
        assert!(is_same(&version.replace("team", "4711")));
        assert!(!is_same(&version.replace("s/1", "s/2")));
        assert!(!is_same("") && !is_same_version(&serde_json::Value::Null, version));
    }
}
