//! Authentication: what a registry asks for, and the tokens that were got for it.
//!
//! See [the token specification](https://distribution.github.io/distribution/spec/auth/token/) and
//! [its OAuth2 variant](https://distribution.github.io/distribution/spec/auth/oauth/).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::client::{Environment, Options};
use crate::credentials::{self, Credentials};
use crate::error::{Error, Failure, Kind};
use crate::reference::{Reference, host_without_port, is_loopback};
use crate::wire::{Outgoing, Payload, Trouble, Wire, server_message};

const CLIENT_ID: &str = "crateyard";
/// What the specification lets a client assume where `expires_in` is missing, in seconds.
const DEFAULT_LIFETIME: u64 = 60;

/// What a registry's requests are authenticated with.
pub(crate) struct Auth {
    target: Reference,
    given: Option<Credentials>,
    environment: Environment,
    plain_http: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// The credentials, once they were searched.
    credentials: Option<Option<Credentials>>,
    tokens: BTreeMap<Vec<String>, Token>,
}

struct Token {
    header: HeaderValue,
    /// Until when it is used. A renewal ahead of time costs a request, one too late a whole chunk.
    fresh_until: Instant,
}

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub fn new(target: &Reference, options: &Options) -> Auth {
        Auth {
            target: target.without_version(),
            given: options.credentials.clone(),
            environment: options.environment.clone(),
            plain_http: options.plain_http,
            state: Mutex::default(),
        }
    }

    /// The header for a request that needs `scopes`; none before the registry has asked.
    pub async fn header(
        &self,
        wire: &Wire,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, Trouble> {
        // Held while a token is fetched, so that it is fetched once.
        let mut state = self.state.lock().await;
        let Some(challenge) = state.challenge.clone() else {
            return Ok(None);
        };
        let credentials = self.credentials(&mut state).await?;
        let (realm, service) = match (challenge, &credentials) {
            (_, Some(Credentials::RegistryToken(token))) => return bearer(token).map(Some),
            (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                return basic(username, password).map(Some);
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { realm, service }, _) => (realm, service),
        };
        if let Some(token) = state.tokens.get(scopes) {
            if token.fresh_until > Instant::now() {
                return Ok(Some(token.header.clone()));
            }
        }
        let token = self
            .fetch(
                wire,
                &realm,
                service.as_deref(),
                scopes,
                credentials.as_ref(),
            )
            .await?;
        let header = token.header.clone();
        state.tokens.insert(scopes.to_vec(), token);
        Ok(Some(header))
    }

    /// Learns from a 401 answer. Says whether it is worth to ask again: not if what was `used` is all there is.
    pub async fn learn(
        &self,
        headers: &HeaderMap,
        scopes: &[String],
        used: Option<&HeaderValue>,
    ) -> bool {
        let Some(challenge) = choose(headers, self) else {
            return false;
        };
        let mut state = self.state.lock().await;
        let is_new = state.challenge.as_ref() != Some(&challenge);
        let is_bearer = matches!(challenge, Challenge::Bearer { .. });
        state.challenge = Some(challenge);
        // Another request may have renewed the token in the meantime: then that one is tried.
        let is_cached = state
            .tokens
            .get(scopes)
            .is_some_and(|token| Some(&token.header) == used);
        if is_cached {
            state.tokens.remove(scopes);
        }
        is_new || used.is_none() || is_bearer
    }

    /// Whether there is anything to show; known once the registry has asked.
    pub async fn has_credentials(&self) -> bool {
        matches!(self.state.lock().await.credentials, Some(Some(_)))
    }

    /// Searches the credentials once, and only for registries that ask: helpers can be slow.
    async fn credentials(&self, state: &mut State) -> Result<Option<Credentials>, Trouble> {
        if let Some(known) = &state.credentials {
            return Ok(known.clone());
        }
        let found = match &self.given {
            Some(given) => Some(given.clone()),
            None => {
                let (environment, target) = (self.environment.clone(), self.target.clone());
                let search =
                    tokio::task::spawn_blocking(move || credentials::find(&environment, &target));
                search.await.unwrap_or(Ok(None)).map_err(Trouble::Fatal)?
            }
        };
        state.credentials = Some(found.clone());
        Ok(found)
    }

    async fn fetch(
        &self,
        wire: &Wire,
        realm: &Url,
        service: Option<&str>,
        scopes: &[String],
        credentials: Option<&Credentials>,
    ) -> Result<Token, Trouble> {
        let outgoing = token_request(realm, service, scopes, credentials)?;
        let asked_at = Instant::now();
        let reply = wire
            .authenticate(&self.target.to_string(), outgoing)
            .await?;
        let (status, request) = (reply.status(), reply.request.clone());
        let denied = |detail: String, kind| {
            Trouble::Fatal(Error::from(Failure {
                reference: self.target.to_string(),
                request: request.clone(),
                kind,
                detail,
                remedy: format!(
                    "docker login {}, or --username with --password-stdin",
                    self.target.registry()
                ),
            }))
        };
        let bytes = reply
            .response_bytes(1 << 20)
            .await
            .map_err(|cause| Trouble::transient(&request, cause))?;
        if !status.is_success() {
            let kind = if status.is_server_error() {
                Kind::Unreachable
            } else {
                Kind::Denied
            };
            let detail = format!(
                "the token server refused: {status}{}",
                server_message(&bytes)
            );
            return Err(denied(detail, kind));
        }
        let no_token = || {
            denied(
                "the token server's answer holds no token".to_owned(),
                Kind::Contradiction,
            )
        };
        let answer: TokenAnswer = serde_json::from_slice(&bytes).map_err(|_| no_token())?;
        let text = answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty())
            .ok_or_else(no_token)?;
        let lifetime = Duration::from_secs(
            answer
                .expires_in
                .unwrap_or(DEFAULT_LIFETIME)
                .clamp(1, 86_400),
        );
        let margin = (lifetime / 4).min(Duration::from_secs(30));
        Ok(Token {
            header: bearer(&text)?,
            fresh_until: asked_at + lifetime - margin,
        })
    }
}

/// A refresh token is posted (OAuth2); a name and a password, or nothing, go with a GET, which all servers know.
fn token_request(
    realm: &Url,
    service: Option<&str>,
    scopes: &[String],
    credentials: Option<&Credentials>,
) -> Result<Outgoing, Trouble> {
    let mut headers = HeaderMap::new();
    let mut url = realm.clone();
    if let Some(Credentials::IdentityToken(token)) = credentials {
        let mut form = Url::parse("form:").expect("a constant URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token)
            .append_pair("service", service.unwrap_or_default())
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &scopes.join(" "));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let body = form.query().unwrap_or_default().to_owned();
        return Ok(Outgoing {
            method: Method::POST,
            url,
            headers,
            payload: Payload::Bytes(body.into()),
            weight: 0,
        });
    }
    {
        let mut query = url.query_pairs_mut();
        service.map(|service| query.append_pair("service", service));
        for scope in scopes {
            query.append_pair("scope", scope);
        }
        if let Some(Credentials::Password { username, .. }) = credentials {
            query.append_pair("account", username);
        }
    }
    if let Some(Credentials::Password { username, password }) = credentials {
        headers.insert(AUTHORIZATION, basic(username, password)?);
    }
    Ok(Outgoing {
        method: Method::GET,
        url,
        headers,
        payload: Payload::Empty,
        weight: 0,
    })
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Trouble> {
    secret(format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    ))
}

fn bearer(token: &str) -> Result<HeaderValue, Trouble> {
    secret(format!("Bearer {token}"))
}

fn secret(text: String) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Trouble::Fatal(Error::Credentials {
            place: "token".to_owned(),
            reason: "has characters that no HTTP header can carry".to_owned(),
            remedy: "log in again".to_owned(),
        })
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Bearer where it is offered, else Basic. A realm in plain HTTP is not trusted with secrets unless it is on this
/// machine or plain HTTP was asked for.
fn choose(headers: &HeaderMap, auth: &Auth) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        for (scheme, parameters) in parse_challenges(value.to_str().unwrap_or_default()) {
            if scheme == "basic" {
                basic = Some(Challenge::Basic);
            }
            if scheme != "bearer" {
                continue;
            }
            let realm = parameters
                .get("realm")
                .and_then(|realm| Url::parse(realm).ok());
            let service = parameters.get("service").cloned();
            let may_use = |realm: &Url| {
                let host = realm.host_str().unwrap_or_default();
                realm.scheme() == "https"
                    || realm.scheme() == "http"
                        && (auth.plain_http || is_loopback(host_without_port(host)))
            };
            if let Some(realm) = realm.filter(may_use) {
                return Some(Challenge::Bearer { realm, service });
            }
        }
    }
    basic
}

/// Splits `Bearer realm="…",scope="a,b", Basic realm=x` into schemes (in lower case) and their parameters.
fn parse_challenges(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut challenges: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let word = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        match rest.strip_prefix('=') {
            Some(value) => {
                let (value, after) = take_value(value.trim_start());
                if let Some((_, parameters)) = challenges.last_mut() {
                    parameters.insert(word, value);
                }
                rest = after;
            }
            None if word.is_empty() => return challenges,
            None => challenges.push((word, BTreeMap::new())),
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    challenges
}

/// A quoted string, in which backslashes escape, or a word.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_split_at_the_right_commas() {
        let text = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a:pull,push", Basic realm=x"#;
        let challenges = parse_challenges(text);
        assert_eq!(challenges.len(), 2);
        assert_eq!(challenges[0].0, "bearer");
        assert_eq!(challenges[0].1["realm"], "https://auth.example/token");
        assert_eq!(challenges[0].1["scope"], "repository:a:pull,push");
        assert_eq!(
            challenges[1],
            (
                "basic".to_owned(),
                BTreeMap::from([("realm".to_owned(), "x".to_owned())])
            )
        );
        assert_eq!(
            parse_challenges(r#"Basic realm="a \"b\", c""#)[0].1["realm"],
            r#"a "b", c"#
        );
        for odd in [
            "",
            ",",
            "=",
            "\"",
            "Bearer",
            "Bearer =",
            "Bearer realm=\"",
            "é=é é",
        ] {
            parse_challenges(odd);
        }
    }

    #[test]
    fn secrets_do_not_go_to_plain_realms() {
        let auth = |plain_http| {
            let options = Options {
                plain_http,
                ..Options::new(Environment::default())
            };
            Auth::new(&"r.example/a".parse().unwrap(), &options)
        };
        let headers = |realm: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                WWW_AUTHENTICATE,
                format!("Bearer realm=\"{realm}\"").parse().unwrap(),
            );
            headers
        };
        assert!(choose(&headers("https://a.example/t"), &auth(false)).is_some());
        assert!(choose(&headers("http://127.0.0.1:5001/t"), &auth(false)).is_some());
        assert!(choose(&headers("http://a.example/t"), &auth(false)).is_none());
        assert!(choose(&headers("http://a.example/t"), &auth(true)).is_some());
        assert!(choose(&headers("file:///etc/passwd"), &auth(true)).is_none());
    }

    #[test]
    fn refresh_tokens_are_posted_and_passwords_are_not() {
        let realm = Url::parse("https://a.example/t").unwrap();
        let scopes = [
            "repository:a:pull,push".to_owned(),
            "repository:b:pull".to_owned(),
        ];
        let identity = Credentials::IdentityToken("s&cret".to_owned());
        let posted = token_request(&realm, Some("r"), &scopes, Some(&identity)).unwrap();
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
        let got = token_request(&realm, Some("r"), &scopes, Some(&password)).unwrap();
        assert_eq!(got.method, Method::GET);
        let query =
            "service=r&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull&account=u";
        assert_eq!(got.url.query(), Some(query));
        assert_eq!(got.headers[AUTHORIZATION], "Basic dTpw");
    }
}
