//! Challenges: parses the `WWW-Authenticate` header.
//!
//! See [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1).

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::locations::{LocationPolicy, Purpose};

/// A way to authenticate that this crate knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Each request carries a name and a password.
    Basic,
    /// Each request carries a token, which the server at `realm` issues.
    Bearer { realm: Url, service: Option<String> },
}

/// Chooses Bearer if the registry offers it, else Basic. `None` if it offers neither.
///
/// # Errors
/// Fails with the reason why this crate does not ask the token server that the answer from `base`
/// names.
pub(crate) fn choose(
    headers: &HeaderMap,
    base: &Url,
    policy: LocationPolicy,
) -> Result<Option<Challenge>, String> {
    let mut basic = None;
    let mut refused = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        for (scheme, parameters) in parse(&String::from_utf8_lossy(value.as_bytes())) {
            match (scheme.as_str(), parameters.get("realm")) {
                ("basic", _) => basic = Some(Challenge::Basic),
                ("bearer", Some(realm)) => match policy.follow(Purpose::Realm, base, realm) {
                    Ok(realm) => {
                        let service = parameters.get("service").cloned();
                        return Ok(Some(Challenge::Bearer { realm, service }));
                    }
                    Err(reason) => refused = Some(reason),
                },
                ("bearer", None) => {
                    refused = Some(
                        "the registry asks for a token but names no server that issues one"
                            .to_owned(),
                    );
                }
                _ => {}
            }
        }
    }
    match (basic, refused) {
        (None, Some(reason)) => Err(reason),
        (basic, _) => Ok(basic),
    }
}

/// Splits `Bearer realm="…",scope="a,b", Basic realm=x` into schemes (in lower case) and their
/// parameters.
pub(crate) fn parse(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
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

/// Takes a quoted string, in which backslashes escape, or a word.
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
    use crate::client::{Environment, Options};

    #[test]
    fn challenges_are_split_at_the_right_commas() {
        let text = concat!(
            r#"Bearer realm="https://auth.example/token",service="r.example","#,
            r#"scope="repository:a:pull,push", Basic realm=x"#
        );
        let challenges = parse(text);
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
            parse(r#"Basic realm="a \"b\", c""#)[0].1["realm"],
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
            parse(odd);
        }
    }

    fn chosen(value: &str) -> Result<Option<Challenge>, String> {
        let target = "r.example/a".parse().unwrap();
        let policy = LocationPolicy::new(&target, &Options::new(Environment::default()));
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, value.parse().unwrap());
        choose(
            &headers,
            &Url::parse("https://r.example/v2/").unwrap(),
            policy,
        )
    }

    #[test]
    fn a_token_server_that_is_not_asked_is_an_error_that_says_why() {
        let bearer = |realm: &str| chosen(&format!("Bearer realm=\"{realm}\""));
        let is_refused = |realm: &str, reason: &str| bearer(realm).unwrap_err().contains(reason);
        assert!(is_refused("http://a.example/t", "leads to http"));
        assert!(is_refused("http://127.0.0.1:1/t", "this machine"));
        assert!(is_refused("https://localhost/t", "this machine"));
        assert!(is_refused("file:///etc/passwd", "leads to file"));
        assert!(chosen("Bearer").unwrap_err().contains("no server"));
        let Ok(Some(Challenge::Bearer { realm, .. })) = bearer("/token") else {
            panic!("a relative realm is one of the registry's own");
        };
        assert_eq!(realm.as_str(), "https://r.example/token");
        // The registry offers something else too, which is chosen.
        let both = r#"Bearer realm="http://a.example/t", Basic realm="x""#;
        assert_eq!(chosen(both), Ok(Some(Challenge::Basic)));
        assert_eq!(chosen("Negotiate"), Ok(None));
    }
}
