//! The rules for sending a failed request again.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The number of attempts for a request, and the waits between them.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The number of attempts, the first one included.
    pub attempts: u32,
    /// The wait after the first failure. It doubles with each further failure.
    pub first_wait: Duration,
    /// The longest wait, unless the registry asks for a longer one.
    pub longest_wait: Duration,
    /// The longest `Retry-After` to obey. If the registry asks for more, the request fails.
    pub longest_asked: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: 8,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            longest_asked: Duration::from_secs(300),
        }
    }
}

impl Retry {
    /// Returns the wait after failure number `attempt`, counted from 1. The wait is random between
    /// half and all of a doubling interval, so that clients that failed together do not come back
    /// together.
    pub(crate) fn wait(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        let wait = self
            .first_wait
            .saturating_mul(1 << doublings)
            .min(self.longest_wait);
        wait.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

/// Whether a request with this answer may succeed later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Returns the wait that an answer asks for in `Retry-After`, as seconds or a date.
///
/// See [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
pub(crate) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_a_bound() {
        let retry = Retry::default();
        for _ in 0..100 {
            let third = retry.wait(3);
            assert!(
                third >= Duration::from_secs(1) && third <= Duration::from_secs(2),
                "{third:?}"
            );
            assert!(retry.wait(u32::MAX) <= retry.longest_wait);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            asked_wait(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let wait = asked(&soon).unwrap();
        assert!(
            wait > Duration::from_secs(80) && wait <= Duration::from_secs(90),
            "{wait:?}"
        );
        assert_eq!(asked("soon"), None);
    }
}
