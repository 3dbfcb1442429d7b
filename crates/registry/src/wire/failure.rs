//! Says why a request got no answer, or an error as its answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crateyard_web::innermost;

use super::{Trouble, Wire};
use crate::error::{Failure, Kind};

pub(super) enum Cause {
    Http(reqwest::Error),
    Stalled(Duration),
}

/// Whether TLS failed. An I/O error hides its inner error from `source`, so this looks into each.
fn is_tls_problem(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    error.downcast_ref::<rustls::Error>().is_some()
        || wrapped.is_some_and(|inner| is_tls_problem(inner))
        || error.source().is_some_and(is_tls_problem)
}

/// Whether the other side closed a connection that it had accepted.
fn is_reset(error: &(dyn std::error::Error + 'static)) -> bool {
    let own = error.downcast_ref::<std::io::Error>();
    let wrapped = own.and_then(std::io::Error::get_ref);
    own.is_some_and(|own| {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(
            own.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        )
    }) || wrapped.is_some_and(|inner| is_reset(inner))
        || error.source().is_some_and(is_reset)
}

impl Wire {
    /// Classifies a request that got no answer: may it succeed later?
    pub(super) fn judge(&self, reference: &str, request: String, cause: Cause) -> Trouble {
        let (detail, is_fatal, remedy) = match &cause {
            Cause::Stalled(patience) => (
                format!("nothing moved for {} s", patience.as_secs_f32()),
                false,
                String::new(),
            ),
            Cause::Http(error) => {
                let text = innermost(error);
                let is_tls = is_tls_problem(error);
                let is_first = !self.reached.load(Ordering::Relaxed);
                let never_reached = error.is_connect() && is_first && !is_reset(error);
                let remedy = if is_tls {
                    "name the authority of the registry's certificate with --ca-file, and your own \
                     certificate with --cert and --key; or use --plain-http if the registry has no \
                     TLS"
                } else {
                    "check the registry's name and port, and that this machine can reach it"
                };
                (text, is_tls || never_reached, remedy.to_owned())
            }
        };
        if !is_fatal {
            return Trouble::Transient {
                request,
                cause: detail,
                asked: None,
                status: None,
            };
        }
        let reference = reference.to_owned();
        Trouble::Fatal(
            Failure {
                reference,
                request,
                kind: Kind::Unreachable,
                detail,
                remedy,
            }
            .into(),
        )
    }
}

/// Formats a registry's error message as ": CODE: message", without control characters.
pub(crate) fn server_message(body: &[u8]) -> String {
    let from_json = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|value| {
            let errors = value["errors"].as_array()?;
            let text = |error: &serde_json::Value| {
                let code = error["code"].as_str().unwrap_or("unknown");
                let message = error["message"].as_str().unwrap_or_default();
                let detail = match &error["detail"] {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => format!(" ({text})"),
                    other => format!(" ({other})"),
                };
                format!("{code}: {message}{detail}")
            };
            Some(errors.iter().map(text).collect::<Vec<_>>().join("; "))
        });
    let text = from_json.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(400)
        .collect();
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') {
        String::new()
    } else {
        format!(": {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_messages_are_short_and_harmless() {
        let body =
            br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway","detail":{"a":1}}]}"#;
        assert_eq!(server_message(body), r#": DENIED: no  [31mway ({"a":1})"#);
        assert_eq!(server_message(b"<html>"), "");
        assert_eq!(server_message(b" \n"), "");
        assert!(server_message(&[b'x'; 100_000]).len() < 500);
    }
}
