//! Access tokens that expire, as clouds issue them ([RFC
//! 6749](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)).

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::http::Request;
use crate::{Error, Web};

/// A token that expires sooner than this is not used any more.
const RESERVE: Duration = Duration::from_secs(60);

/// An access token. It is a secret.
#[derive(Clone)]
pub(super) struct Access {
    token: String,
    /// The time from the answer to the token's end, if the service says it.
    lasts: Option<Duration>,
}

/// The tokens of one owner, each issued when the previous one ends.
pub(super) struct Bearer {
    issue: Box<dyn Fn() -> Result<Access, Error> + Send + Sync>,
    current: Mutex<Option<(String, Instant)>>,
}

impl Access {
    /// Returns a token that somebody else looks after.
    pub(super) fn of(token: String) -> Access {
        Access { token, lasts: None }
    }

    /// Returns the token's text.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// When the service can't be reached, refuses, or answers no token.
    pub(super) fn ask(web: &Web, url: &str, request: &Request<'_>) -> Result<Access, Error> {
        let answer = web.ask(request)?.success(url)?;
        Access::read(&answer).ok_or_else(|| Error::Service {
            url: url.to_owned(),
            reason: "answers no access token".to_owned(),
        })
    }

    /// Reads an answer. Most services have the fields of RFC 6749. Google's impersonation and
    /// Azure's command line write them in their own way, and Azure writes numbers as text.
    pub(super) fn read(answer: &[u8]) -> Option<Access> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let text = |names: [&str; 2]| names.iter().find_map(|name| answer[*name].as_str());
        let token = text(["access_token", "accessToken"])?;
        let kind = text(["token_type", "tokenType"]).unwrap_or("Bearer");
        if !kind.eq_ignore_ascii_case("Bearer")
            || token.is_empty()
            || !token.bytes().all(|it| it.is_ascii_graphic())
        {
            return None;
        }
        let lasts = number(&answer["expires_in"]).or_else(|| {
            let end = number(&answer["expires_on"]).or_else(|| {
                let time: Timestamp = answer["expireTime"].as_str()?.parse().ok()?;
                Some(time.as_second())
            });
            Some(end?.saturating_sub(Timestamp::now().as_second()))
        });
        Some(Access {
            token: token.to_owned(),
            lasts: lasts.map(|it| Duration::from_secs(it.try_into().unwrap_or(0))),
        })
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

impl Bearer {
    /// Returns an owner whose tokens `issue` asks for.
    pub(super) fn new(issue: impl Fn() -> Result<Access, Error> + Send + Sync + 'static) -> Bearer {
        Bearer {
            issue: Box::new(issue),
            current: Mutex::new(None),
        }
    }

    /// Returns a token that does not end within the next minute.
    ///
    /// # Errors
    /// When none is issued.
    pub(super) fn token(&self) -> Result<String, Error> {
        let mut current = self.current.lock().unwrap_or_else(|it| it.into_inner());
        if let Some((token, end)) = &*current {
            if Instant::now() + RESERVE < *end {
                return Ok(token.clone());
            }
        }
        let access = (self.issue)()?;
        let end = access.lasts.and_then(|it| Instant::now().checked_add(it));
        *current = end.map(|end| (access.token.clone(), end));
        Ok(access.token)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{Access, Bearer};

    #[test]
    fn answers_of_all_services_are_read() {
        let soon = Timestamp::now() + jiff::SignedDuration::from_secs(600);
        let second = soon.as_second();
        for answer in [
            r#"{"access_token": "a.b", "token_type": "bearer", "expires_in": 600}"#.to_owned(),
            r#"{"access_token": "a.b", "expires_in": "600"}"#.to_owned(),
            format!(r#"{{"access_token": "a.b", "expires_on": "{second}"}}"#),
            format!(r#"{{"accessToken": "a.b", "tokenType": "Bearer", "expires_on": {second}}}"#),
            format!(r#"{{"accessToken": "a.b", "expireTime": "{soon}"}}"#),
        ] {
            let access = Access::read(answer.as_bytes()).unwrap();
            assert_eq!(access.token(), "a.b");
            let lasts = access.lasts.unwrap().as_secs();
            assert!((590..=600).contains(&lasts), "{answer}: {lasts}");
        }
        for answer in [
            "a.b",
            "{}",
            r#"{"access_token": ""}"#,
            r#"{"access_token": "a\nb"}"#,
            r#"{"access_token": "a.b", "token_type": "mac"}"#,
        ] {
            assert!(Access::read(answer.as_bytes()).is_none(), "{answer}");
        }
    }

    #[test]
    fn a_token_is_used_until_it_ends() {
        for (lasts, asked) in [(Some(3600), 1), (Some(59), 3), (Some(0), 3), (None, 3)] {
            let count = std::sync::Arc::new(AtomicU32::new(0));
            let counter = count.clone();
            let bearer = Bearer::new(move || {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                Ok(Access {
                    token: number.to_string(),
                    lasts: lasts.map(Duration::from_secs),
                })
            });
            let tokens = [(); 3].map(|()| bearer.token().unwrap());
            assert_eq!(count.load(Ordering::Relaxed), asked, "{tokens:?}");
        }
    }
}
