//! Tokens: requests to a token server, and its answers.
//!
//! See [the token specification](https://distribution.github.io/distribution/spec/auth/token/) and
//! [its OAuth2 variant](https://distribution.github.io/distribution/spec/auth/oauth/).

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crateyard_oci::Reference;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::credentials::Credentials;
use crate::error::{Error, Failure, Kind};
use crate::wire::{Outgoing, Payload, Trouble, Wire, server_message};

const CLIENT_ID: &str = "crateyard";
/// The lifetime that the specification lets a client assume without `expires_in`, in seconds.
const DEFAULT_LIFETIME: u64 = 60;
/// The size limit of a token server's answer, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// A token, as the `Authorization` header that carries it.
pub(super) struct Token {
    pub header: HeaderValue,
    /// When to renew it. An early renewal costs a request; a late one costs a whole chunk.
    pub fresh_until: Instant,
}

/// A request for a token.
pub(super) struct Wish<'a> {
    pub repository: &'a Reference,
    pub realm: &'a Url,
    pub service: Option<&'a str>,
    pub scopes: &'a [String],
    pub credentials: Option<&'a Credentials>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
}

/// Reads a number of seconds, which some servers write as text. A senseless one counts as missing.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(number.filter(|it| *it >= 0.0).map(|it| it as u64))
}

impl Wish<'_> {
    /// Asks the token server for the token.
    pub(super) async fn fetch(&self, wire: &Wire) -> Result<Token, Trouble> {
        let outgoing = self.request()?;
        let asked_at = Instant::now();
        let name = self.repository.to_string();
        let reply = wire.authenticate(&name, outgoing).await?;
        let (status, request) = (reply.status(), reply.request.clone());
        let bytes = reply.response_bytes(MAX_ANSWER).await;
        let bytes = bytes.map_err(|cause| Trouble::transient(&request, cause))?;
        if !status.is_success() {
            return Err(self.refused(request, status, &bytes));
        }
        let (text, lifetime) =
            read(&bytes).map_err(|reason| self.contradiction(request, reason))?;
        let margin = (lifetime / 4).min(Duration::from_secs(30));
        Ok(Token {
            header: bearer(&text)?,
            fresh_until: asked_at + lifetime.saturating_sub(margin),
        })
    }

    fn refused(&self, request: String, status: StatusCode, body: &[u8]) -> Trouble {
        let host = self.repository.registry();
        let (kind, remedy) = match status.as_u16() {
            400 | 401 | 403 if self.credentials.is_none() => (
                Kind::Denied,
                format!("docker login {host}, or --username with --password-stdin"),
            ),
            401 => (
                Kind::Denied,
                format!("check the user's name and password; docker login {host} replaces them"),
            ),
            400..=403 => (
                Kind::Denied,
                format!("check that the account may use {}", self.repository),
            ),
            404 => (Kind::Refused, token_server_is_wrong()),
            _ => (Kind::Refused, "read what the token server says".to_owned()),
        };
        let message = server_message(body);
        let detail = format!("the token server refused: {status}{message}");
        self.failure(request, kind, detail, remedy)
    }

    fn contradiction(&self, request: String, reason: String) -> Trouble {
        let detail = format!("the token server's answer {reason}");
        self.failure(
            request,
            Kind::Contradiction,
            detail,
            token_server_is_wrong(),
        )
    }

    fn failure(&self, request: String, kind: Kind, detail: String, remedy: String) -> Trouble {
        Trouble::Fatal(Error::from(Failure {
            reference: self.repository.to_string(),
            request,
            kind,
            detail,
            remedy,
        }))
    }

    /// Makes a POST for a refresh token (OAuth2). Otherwise makes a GET, which all servers know.
    fn request(&self) -> Result<Outgoing, Trouble> {
        match self.credentials {
            Some(Credentials::IdentityToken(token)) => Ok(self.post(token)),
            other => self.get(other),
        }
    }

    fn post(&self, refresh_token: &str) -> Outgoing {
        let mut form = Url::parse("form:").expect("a constant URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh_token)
            .append_pair("service", self.service.unwrap_or_default())
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &self.scopes.join(" "));
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let body = form.query().unwrap_or_default().to_owned();
        Outgoing {
            method: Method::POST,
            url: self.realm.clone(),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            payload: Payload::Bytes(body.into()),
            weight: 0,
        }
    }

    fn get(&self, credentials: Option<&Credentials>) -> Result<Outgoing, Trouble> {
        let mut headers = HeaderMap::new();
        let mut url = self.realm.clone();
        let mut query = url.query_pairs_mut();
        self.service
            .map(|service| query.append_pair("service", service));
        for scope in self.scopes {
            query.append_pair("scope", scope);
        }
        if let Some(Credentials::Password { username, password }) = credentials {
            query.append_pair("account", username);
            headers.insert(AUTHORIZATION, basic(username, password)?);
        }
        drop(query);
        Ok(Outgoing {
            method: Method::GET,
            url,
            headers,
            payload: Payload::Empty,
            weight: 0,
        })
    }
}

fn token_server_is_wrong() -> String {
    "tell the registry's operator that the token server it names is at fault".to_owned()
}

/// Reads the token in an answer, and its lifetime.
fn read(bytes: &[u8]) -> Result<(String, Duration), String> {
    let answer: Answer =
        serde_json::from_slice(bytes).map_err(|error| format!("can't be read: {error}"))?;
    let text = answer.token.filter(|token| !token.is_empty());
    let text = text.or(answer.access_token.filter(|token| !token.is_empty()));
    let text = text.ok_or_else(|| "holds no token".to_owned())?;
    let lifetime = answer.expires_in.unwrap_or(DEFAULT_LIFETIME);
    Ok((text, Duration::from_secs(lifetime.clamp(1, 86_400))))
}

pub(super) fn basic(username: &str, password: &str) -> Result<HeaderValue, Trouble> {
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    secret(format!("Basic {encoded}"))
}

pub(super) fn bearer(token: &str) -> Result<HeaderValue, Trouble> {
    secret(format!("Bearer {token}"))
}

fn secret(text: String) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Trouble::Fatal(Error::Credentials {
            place: "token".to_owned(),
            reason: "has characters that an HTTP header cannot carry".to_owned(),
            remedy: "log in again".to_owned(),
        })
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_or_text() {
        let lifetime = |text: &str| {
            let answer = format!(r#"{{"token":"t","expires_in":{text}}}"#);
            read(answer.as_bytes()).unwrap().1.as_secs()
        };
        for (text, seconds) in [
            ("300", 300),
            ("\"300\"", 300),
            ("3e2", 300),
            ("0", 1),
            ("1e99", 86_400),
            ("-5", DEFAULT_LIFETIME),
            ("\"soon\"", DEFAULT_LIFETIME),
            ("null", DEFAULT_LIFETIME),
            ("[]", DEFAULT_LIFETIME),
        ] {
            assert_eq!(lifetime(text), seconds, "{text}");
        }
    }

    #[test]
    fn an_answer_without_a_token_says_what_is_wrong() {
        for (text, reason) in [
            ("{}", "holds no token"),
            (r#"{"token":"","access_token":""}"#, "holds no token"),
            ("<html>", "can't be read"),
            (r#"{"token":5}"#, "can't be read"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let second = read(br#"{"token":"","access_token":"a"}"#).unwrap();
        assert_eq!(second.0, "a");
    }

    #[test]
    fn refresh_tokens_are_posted_and_passwords_are_not() {
        let (repository, realm) = (
            "r.example/a".parse().unwrap(),
            Url::parse("https://a.example/t").unwrap(),
        );
        let scopes = [
            "repository:a:pull,push".to_owned(),
            "repository:b:pull".to_owned(),
        ];
        let wish = |credentials| Wish {
            repository: &repository,
            realm: &realm,
            service: Some("r"),
            scopes: &scopes,
            credentials: Some(credentials),
        };
        let identity = Credentials::IdentityToken("s&cret".to_owned());
        let posted = wish(&identity).request().unwrap();
        assert_eq!((posted.method, posted.url.query()), (Method::POST, None));
        let Payload::Bytes(body) = posted.payload else {
            panic!("no body")
        };
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            body.contains("grant_type=refresh_token&refresh_token=s%26cret&service=r"),
            "{body}"
        );
        let password = Credentials::Password {
            username: "u".to_owned(),
            password: "p".to_owned(),
        };
        let got = wish(&password).request().unwrap();
        assert_eq!(got.method, Method::GET);
        let query =
            "service=r&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull&account=u";
        assert_eq!(got.url.query(), Some(query));
        assert_eq!(got.headers[AUTHORIZATION], "Basic dTpw");
    }
}
