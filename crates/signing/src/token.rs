//! Identity tokens (OpenID Connect): a CI system gives one to a job as proof of its identity.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::http::Request;
use crate::{Error, Web};

/// The audience that sigstore's certificate authorities require.
const AUDIENCE: &str = "sigstore";
/// The variable that holds a token for sigstore, as set by GitLab's `id_tokens` and other systems.
const VARIABLE: &str = "SIGSTORE_ID_TOKEN";
/// The variables that GitHub gives to a job with the permission `id-token: write`.
const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
const REMEDY: &str = "in GitHub Actions the permission `id-token: write`; in GitLab `id_tokens: \
                      SIGSTORE_ID_TOKEN: aud: sigstore`; elsewhere --identity-token FILE, or \
                      SIGSTORE_ID_TOKEN";

/// An identity token. It is a secret: anybody who has it can sign in its owner's name for some
/// minutes.
#[derive(Clone)]
pub struct Token {
    text: String,
    subject: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token of {:?}", self.subject)
    }
}

impl Token {
    /// Reads a token. The certificate authority decides whether it is genuine.
    ///
    /// # Errors
    /// When the text is not a JSON web token with a subject.
    pub fn parse(text: &str) -> Result<Token, Error> {
        let text = text.trim();
        let claims = text.split('.').nth(1);
        let claims =
            claims.and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
        let claims: Option<Value> = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let wrong = |what: &str| Error::Token(what.to_owned(), REMEDY);
        let claims = claims.ok_or_else(|| wrong("it is not a JSON web token"))?;
        let subject = subject(&claims).ok_or_else(|| wrong("it names no subject"))?;
        Ok(Token {
            text: text.to_owned(),
            subject,
        })
    }

    /// Gets the token that the CI system gives this job. `variable` returns the value of an
    /// environment variable.
    ///
    /// # Errors
    /// When the CI system gives none.
    pub fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
        web: &Web,
    ) -> Result<Token, Error> {
        let variable = |name| variable(name).filter(|value: &String| !value.is_empty());
        if let Some(text) = variable(VARIABLE) {
            return Token::parse(&text);
        }
        let (Some(url), Some(bearer)) = (variable(GITHUB_URL), variable(GITHUB_TOKEN)) else {
            return Err(Error::Token("this job has none".to_owned(), REMEDY));
        };
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}audience={AUDIENCE}");
        let header = format!("Bearer {bearer}");
        let request = Request::to(&url).header("authorization", &header);
        let request = request.secret(&bearer);
        let answer = web.ask(&request)?.success(&url)?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let text = answer["value"].as_str().ok_or_else(|| Error::Service {
            url,
            reason: "answers no token".to_owned(),
        })?;
        Token::parse(text)
    }

    /// Returns the token's text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the name that the owner signs to prove that the key is theirs: a verified e-mail
    /// address, else the subject.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }
}

fn subject(claims: &Value) -> Option<String> {
    let is_verified = claims["email_verified"] == true || claims["email_verified"] == "true";
    let address = claims["email"].as_str().filter(|_| is_verified);
    let subject = address.or_else(|| claims["sub"].as_str());
    subject.filter(|it| !it.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Result<Token, Error> {
        Token::parse(&format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn the_owner_is_a_verified_address_or_the_subject() {
        let of = |claims: &str| token(claims).unwrap().subject().to_owned();
        assert_eq!(of(r#"{"sub":"repo:team/shop"}"#), "repo:team/shop");
        let verified = r#"{"sub":"1","email":"ann@shop.example","email_verified":true}"#;
        assert_eq!(of(verified), "ann@shop.example");
        assert_eq!(of(r#"{"sub":"1","email":"ann@shop.example"}"#), "1");
    }

    #[test]
    fn a_token_never_shows_and_other_text_is_none() {
        let shown = format!("{:?}", token(r#"{"sub":"ann"}"#).unwrap());
        assert_eq!(shown, r#"Token of "ann""#);
        for text in ["", "a.b", "e30.e30.e30"] {
            assert!(
                matches!(Token::parse(text), Err(Error::Token(..))),
                "{text:?}"
            );
        }
    }
}
