//! Refusals: the meaning of a registry's error answer, and the next step for the user.

use crateyard_oci::Reference;
use reqwest::StatusCode;

use crate::auth::Standing;
use crate::error::Kind;

/// The specification's codes for a manifest that names a blob which the repository lacks.
///
/// See [the
/// list](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes).
const LACKS_BLOBS: [&str; 2] = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"];

/// A registry's error answer.
pub(crate) struct Refusal<'a> {
    /// The repository of the request.
    pub repository: &'a Reference,
    pub status: StatusCode,
    /// The answer's body.
    pub body: &'a [u8],
    /// Whether the request was to write something.
    pub is_write: bool,
    /// Whether the registry itself answered, and not a storage that it redirects to.
    pub is_own: bool,
    /// The state of the repository's authentication.
    pub standing: &'a Standing,
}

impl Refusal<'_> {
    /// Returns the kind of failure, and the next step for the user.
    pub(crate) fn judge(&self) -> (Kind, String) {
        match self.status.as_u16() {
            401 | 403 => (Kind::Denied, self.denied()),
            _ if self.is_about_a_fixed_tag() => (
                Kind::Refused,
                "choose another tag: the registry's settings forbid moving this one".to_owned(),
            ),
            404 if self.is_write => (
                Kind::NotFound,
                "check the name; in some registries you must create the repository first"
                    .to_owned(),
            ),
            404 => (
                Kind::NotFound,
                "check the repository and the tag; the registry may also hide images that need a \
                 login"
                    .to_owned(),
            ),
            405 if self.is_write => (
                Kind::Refused,
                "push to another registry: this one is read-only (a mirror or cache)".to_owned(),
            ),
            413 => (
                Kind::Refused,
                "raise the size limit of the registry or the proxy in front of it".to_owned(),
            ),
            // A PUT that was only accepted, see `Reply::is_stored`.
            200..=299 => (
                Kind::Contradiction,
                "push again later: the registry took the request, but does not say that it stored \
                 the content"
                    .to_owned(),
            ),
            300..=399 => (
                Kind::Contradiction,
                "use the address that the registry redirects to".to_owned(),
            ),
            _ => (
                Kind::Refused,
                "read the registry's message; its log may say more".to_owned(),
            ),
        }
    }

    /// Returns the remedy for a request that was denied. It advises `docker login` only if a login
    /// is missing.
    fn denied(&self) -> String {
        let (repository, host) = (self.repository, self.repository.registry());
        let action = if self.is_write {
            "push to"
        } else {
            "pull from"
        };
        let has_credentials = self.standing.found.credentials.is_some();
        match (self.is_own, has_credentials, self.status) {
            (false, ..) => {
                "try again; if it happens again, the storage refuses the URL that the registry \
                 redirects to"
                    .to_owned()
            }
            (_, true, StatusCode::UNAUTHORIZED) => format!(
                "check the account's name and password, and that it may {action} {repository}; \
                 docker login {host} replaces them"
            ),
            (_, true, _) => format!("check that the account may {action} {repository}"),
            (_, false, _) if self.standing.was_asked => {
                format!("docker login {host}, or --username with --password-stdin")
            }
            (_, false, StatusCode::UNAUTHORIZED) => {
                "tell the registry's operator: it asks for a login, but with neither Basic nor \
                 Bearer"
                    .to_owned()
            }
            _ => format!(
                "check the name and the registry's rules: nobody may {action} {repository} from \
                 here, and the registry asks for no login"
            ),
        }
    }

    /// Whether the tag is immutable. Registries word this differently, and there is no code for it.
    fn is_about_a_fixed_tag(&self) -> bool {
        let text = String::from_utf8_lossy(self.body).to_ascii_lowercase();
        let is_status = matches!(self.status.as_u16(), 400 | 403 | 405 | 409 | 412);
        self.is_write && is_status && (text.contains("immutable") || text.contains("tag_invalid"))
    }
}

/// Whether an answer says that the manifest names blobs which the repository lacks.
pub(crate) fn lacks_blobs(status: StatusCode, body: &[u8]) -> bool {
    let codes = codes(body);
    matches!(status.as_u16(), 400 | 404)
        && codes.iter().any(|it| LACKS_BLOBS.contains(&it.as_str()))
}

fn codes(body: &[u8]) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let errors = value["errors"].as_array();
    let codes = errors.into_iter().flatten();
    codes
        .filter_map(|error| error["code"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Credentials, Found};

    fn remedy(status: u16, body: &str, is_write: bool, standing: &Standing) -> String {
        let refusal = Refusal {
            repository: &"r.example/a".parse().unwrap(),
            status: StatusCode::from_u16(status).unwrap(),
            body: body.as_bytes(),
            is_write,
            is_own: true,
            standing,
        };
        refusal.judge().1
    }

    #[test]
    fn a_login_is_advised_where_one_is_missing() {
        let never_asked = Standing::default();
        let asked = Standing {
            was_asked: true,
            ..Standing::default()
        };
        let shown = Standing {
            was_asked: true,
            found: Found::from(Credentials::RegistryToken("t".to_owned())),
        };
        let advises = |status, standing| {
            remedy(status, "", true, standing).contains("docker login r.example")
        };
        assert!(advises(401, &asked) && advises(403, &asked) && advises(401, &shown));
        assert!(
            !advises(403, &shown) && !advises(403, &never_asked) && !advises(401, &never_asked)
        );
        for status in [400, 404, 405, 413, 302, 409] {
            assert!(!advises(status, &asked), "{status}");
        }
    }

    #[test]
    fn other_refusals_have_remedies_of_their_own() {
        let says = |status, body: &str, is_write, part: &str| {
            let text = remedy(status, body, is_write, &Standing::default());
            assert!(text.contains(part), "{status}: {text}");
        };
        let fixed = r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#;
        says(400, fixed, true, "another tag");
        says(412, "configured as immutable", true, "another tag");
        says(404, "", true, "create the repository first");
        says(404, "", false, "check the repository and the tag");
        says(405, "", true, "read-only");
        says(422, "", true, "its log");
    }

    #[test]
    fn what_a_manifest_lacks_is_known_by_its_code() {
        let body = |code: &str| format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        for (status, code, expected) in [
            (404, "MANIFEST_BLOB_UNKNOWN", true),
            (400, "BLOB_UNKNOWN", true),
            (404, "NAME_UNKNOWN", false),
            (400, "MANIFEST_INVALID", false),
            (403, "BLOB_UNKNOWN", false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                lacks_blobs(status, body(code).as_bytes()),
                expected,
                "{code}"
            );
        }
        assert!(!lacks_blobs(StatusCode::NOT_FOUND, b"<html>"));
    }
}
