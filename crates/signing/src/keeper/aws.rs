//! Keys in [AWS KMS](https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html).
//!
//! The two requests that signing needs do not justify AWS's SDK, which has more crates than the
//! rest of this program.

mod authorization;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use self::authorization::{Credentials, Scope};
use super::algorithm::Algorithm;
use super::{Keeper, Variables, trouble};
use crate::http::Request;
use crate::{Error, PublicKey, Web};

/// A key in AWS KMS.
pub(super) struct Kms {
    name: String,
    key: String,
    region: String,
    /// The service's address.
    url: String,
    /// The host, with the port if it is not the usual one.
    host: String,
    credentials: Credentials,
    web: Web,
}

/// Finds a key: `[ENDPOINT]/KEY`.
///
/// # Errors
/// When region or credentials are not set, or the service can't be reached, refuses, or has no such
/// key.
pub(super) fn open(
    name: &str,
    reference: &str,
    variables: &Variables<'_>,
    web: &Web,
) -> Result<(Kms, PublicKey), Error> {
    let (endpoint, key) = reference.split_once('/').unwrap_or_default();
    if key.is_empty() {
        let form = "awskms:///KEY, where KEY is an identifier, an ARN, or alias/NAME";
        return Err(trouble(name, "it names no key", form));
    }
    let region = region(key, variables);
    let region = region.ok_or_else(|| {
        trouble(
            name,
            "the region is not set",
            "AWS_REGION=…, or the key's ARN",
        )
    })?;
    let credentials = credentials(variables).ok_or_else(|| {
        let remedy = "aws configure export-credentials --format env; in GitHub Actions, \
                      aws-actions/configure-aws-credentials";
        let missing = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set";
        trouble(name, missing, remedy)
    })?;
    let url = address(endpoint, &region, variables);
    let host = host(&url).ok_or_else(|| {
        let reason = format!("{url:?} is not an address of a service");
        trouble(name, reason, "https://HOST")
    })?;
    let kms = Kms {
        name: name.to_owned(),
        key: key.to_owned(),
        region,
        url,
        host,
        credentials,
        web: web.clone(),
    };
    let answer = kms.ask("GetPublicKey", &json!({"KeyId": key}))?;
    if answer["KeyUsage"] != "SIGN_VERIFY" {
        let reason = format!("its usage is {}", answer["KeyUsage"]);
        return Err(trouble(name, reason, "a key with the usage SIGN_VERIFY"));
    }
    let public = PublicKey::from_der(&kms.bytes(&answer["PublicKey"])?)?;
    Ok((kms, public))
}

/// Returns the region: the one in `arn:PARTITION:kms:REGION:ACCOUNT:key/…`, or the environment's.
fn region(key: &str, variables: &Variables<'_>) -> Option<String> {
    let named = key.strip_prefix("arn:").and_then(|it| it.split(':').nth(2));
    let named = named.filter(|it| !it.is_empty()).map(str::to_owned);
    let set = || variables("AWS_REGION").or_else(|| variables("AWS_DEFAULT_REGION"));
    named.or_else(set)
}

fn credentials(variables: &Variables<'_>) -> Option<Credentials> {
    Some(Credentials {
        id: variables("AWS_ACCESS_KEY_ID")?,
        secret: variables("AWS_SECRET_ACCESS_KEY")?,
        session: variables("AWS_SESSION_TOKEN"),
    })
}

/// Returns the service's address: the reference's, the environment's, or the region's.
fn address(endpoint: &str, region: &str, variables: &Variables<'_>) -> String {
    let set = || variables("AWS_ENDPOINT_URL_KMS").or_else(|| variables("AWS_ENDPOINT_URL"));
    let suffix = match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    };
    let address = match endpoint {
        "" => set().unwrap_or_else(|| format!("https://kms.{region}.{suffix}")),
        endpoint => format!("https://{endpoint}"),
    };
    format!("{}/", address.trim_end_matches('/'))
}

/// Returns the host of an address that has no path.
fn host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str().filter(|_| url.path() == "/")?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

impl Kms {
    fn ask(&self, action: &str, body: &Value) -> Result<Value, Error> {
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let body = body.to_string();
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("host", self.host.clone()),
            ("x-amz-date", time.clone()),
            ("x-amz-target", format!("TrentService.{action}")),
        ];
        let session = self.credentials.session.clone();
        headers.extend(session.map(|token| ("x-amz-security-token", token)));
        headers.sort();
        let scope = Scope {
            region: &self.region,
            service: "kms",
            time: &time,
        };
        let signed = scope.authorization(&self.credentials, &headers, body.as_bytes());
        let mut request = Request::to(&self.url).header("authorization", &signed);
        // The client writes the host itself.
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(name, value);
        }
        let session = self.credentials.session.as_deref();
        let request = request.secret(session.unwrap_or_default());
        let answer = self.web.ask(&request.body(body))?.success(&self.url)?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    fn bytes(&self, value: &Value) -> Result<Vec<u8>, Error> {
        let bytes = value.as_str().and_then(|it| BASE64.decode(it).ok());
        bytes.ok_or_else(|| {
            let reason = "the service answers something else";
            trouble(&self.name, reason, "the address of the service")
        })
    }
}

impl Keeper for Kms {
    fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let algorithm = match algorithm {
            Algorithm::P256 => "ECDSA_SHA_256",
            Algorithm::P384 => "ECDSA_SHA_384",
            Algorithm::Rsa => "RSASSA_PKCS1_V1_5_SHA_256",
        };
        let request = json!({
            "KeyId": self.key,
            "Message": BASE64.encode(digest),
            "MessageType": "DIGEST",
            "SigningAlgorithm": algorithm,
        });
        self.bytes(&self.ask("Sign", &request)?["Signature"])
    }
}

#[cfg(test)]
mod tests {
    use super::{address, host, region};

    #[test]
    fn the_service_is_the_named_one_or_the_regions() {
        let none = |_: &str| None;
        let set = |name: &str| {
            let values = [("AWS_REGION", "r-1"), ("AWS_ENDPOINT_URL", "http://a:1/")];
            let value = values.iter().find(|(own, _)| *own == name);
            value.map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(
            address("", "cn-1", &none),
            "https://kms.cn-1.amazonaws.com.cn/"
        );
        assert_eq!(address("", "r-1", &set), "http://a:1/");
        assert_eq!(address("b:2", "r-1", &set), "https://b:2/");
        assert_eq!(host("https://b:2/").as_deref(), Some("b:2"));
        assert_eq!(host("https://b:443/").as_deref(), Some("b"));
        assert_eq!(host("https://b/c"), None);
        let arn = "arn:aws:kms:us-east-2:111122223333:key/1234abcd";
        assert_eq!(region(arn, &set).as_deref(), Some("us-east-2"));
        assert_eq!(region("alias/a", &set).as_deref(), Some("r-1"));
        assert_eq!(region("alias/a", &none), None);
    }
}
