//! [Workload identity federation](https://google.aip.dev/auth/4117): a token of another system,
//! such as a job of a CI system, is exchanged for one of Google's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{REMEDY, SCOPE, address, field};
use crate::http::Request;
use crate::keeper::bearer::Access;
use crate::keeper::{secret_file, trouble};
use crate::{Error, Web};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The permission that impersonation needs.
const WIDE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const STS_URL: &str = "https://sts.googleapis.com/v1/token";

/// A file of the type `external_account`.
pub(super) struct Federation {
    audience: String,
    kind: String,
    token_url: String,
    source: Source,
    /// The field of the source's JSON that holds the token. `None` if the source is the token.
    field: Option<String>,
    /// The address that gives tokens of a service account, if the pool may act as one.
    impersonation: Option<String>,
}

/// The place of the other system's token.
enum Source {
    File(PathBuf),
    /// An address, with the headers of the request. Headers may hold a secret.
    Address(String, BTreeMap<String, String>),
}

impl Federation {
    /// Reads a file. The error continues "the credentials in FILE".
    pub(super) fn read(file: &Value) -> Result<Federation, String> {
        let source = &file["credential_source"];
        for unknown in ["executable", "environment_id", "certificate"] {
            if source.get(unknown).is_some() {
                return Err(format!(
                    "take a token from {unknown:?}, which is not supported"
                ));
            }
        }
        let headers = source.get("headers").cloned().unwrap_or_else(|| json!({}));
        let place = match (source["file"].as_str(), source["url"].as_str()) {
            (Some(file), None) => Source::File(file.into()),
            (None, Some(url)) => Source::Address(
                url.to_owned(),
                serde_json::from_value(headers).map_err(|_| "have damaged headers")?,
            ),
            _ => return Err("name neither file nor url as credential_source".to_owned()),
        };
        let format = &source["format"];
        let field_name = match format["type"].as_str().unwrap_or("text") {
            "text" => None,
            "json" => Some(field(format, "subject_token_field_name")?),
            other => return Err(format!("have a credential_source of the format {other:?}")),
        };
        let impersonation = "service_account_impersonation_url";
        let impersonates = file.get(impersonation).is_some();
        Ok(Federation {
            audience: field(file, "audience")?,
            kind: field(file, "subject_token_type")?,
            token_url: address(file, "token_url", Some(STS_URL))?,
            source: place,
            field: field_name,
            impersonation: match impersonates {
                true => Some(address(file, impersonation, None)?),
                false => None,
            },
        })
    }

    pub(super) fn ask(&self, name: &str, web: &Web) -> Result<Access, Error> {
        let subject = self.subject_token(name, web)?;
        let fields = [
            ("grant_type", EXCHANGE),
            ("audience", &self.audience),
            ("scope", WIDE_SCOPE),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", &subject),
            ("subject_token_type", &self.kind),
        ];
        let request = Request::to(&self.token_url).form(&fields).secret(&subject);
        let access = Access::ask(web, &self.token_url, &request)?;
        let Some(url) = &self.impersonation else {
            return Ok(access);
        };
        let header = format!("Bearer {}", access.token());
        let request = Request::to(url).header("authorization", &header);
        let request = request.secret(access.token());
        let wanted = json!({"scope": [SCOPE], "lifetime": "3600s"});
        Access::ask(web, url, &request.json(&wanted))
    }

    /// Returns the other system's token. It is read each time, because it expires.
    fn subject_token(&self, name: &str, web: &Web) -> Result<String, Error> {
        let (place, text) = match &self.source {
            Source::File(path) => {
                let text = secret_file(path).map_err(|error| {
                    let reason = format!("cannot read the token in {}: {error}", path.display());
                    trouble(name, reason, REMEDY)
                })?;
                (path.display().to_string(), text)
            }
            Source::Address(url, headers) => {
                let mut request = Request::to(url);
                // A metadata server of this network. Others, such as GitHub's, are behind a proxy.
                if url.starts_with("http://") {
                    request = request.nearby();
                }
                for (header, value) in headers {
                    request = request.header(header, value);
                    if header.eq_ignore_ascii_case("authorization") {
                        request = request.secret(value.rsplit(' ').next().unwrap_or_default());
                    }
                }
                let answer = web.ask(&request)?.success(url)?;
                (url.clone(), String::from_utf8_lossy(&answer).into_owned())
            }
        };
        let token = match &self.field {
            None => Some(text),
            Some(field) => {
                let json: Option<Value> = serde_json::from_str(&text).ok();
                json.and_then(|it| it[field].as_str().map(str::to_owned))
            }
        };
        let token = token
            .map(|it| it.trim().to_owned())
            .filter(|it| !it.is_empty());
        token.ok_or_else(|| trouble(name, format!("{place} holds no token"), REMEDY))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Federation;

    fn refusal(source: Value) -> String {
        let file = json!({"credential_source": source});
        match Federation::read(&file) {
            Err(said) => said,
            Ok(_) => panic!("{file} is read"),
        }
    }

    #[test]
    fn other_sources_are_refused_by_name() {
        for (source, said) in [
            (
                json!({"executable": {"command": "/bin/sh"}}),
                "from \"executable\"",
            ),
            (
                json!({"environment_id": "aws1", "url": "http://169.254.169.254"}),
                "\"environment_id\"",
            ),
            (json!({"certificate": {}}), "from \"certificate\""),
            (json!({}), "neither file nor url"),
            (json!({"file": "a", "format": {"type": "xml"}}), "\"xml\""),
            (
                json!({"file": "a", "format": {"type": "json"}}),
                "no subject_token_field_name",
            ),
            (json!({"url": "a", "headers": [1]}), "damaged headers"),
            (json!({"file": "a"}), "have no audience"),
        ] {
            let got = refusal(source);
            assert!(got.contains(said), "{got}");
        }
    }
}
