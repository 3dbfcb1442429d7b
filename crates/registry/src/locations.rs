//! Decides which URLs of a registry's answers the client follows: uploads, redirects, token
//! servers.
//!
//! A registry's answers are untrusted. Their author must not use this program to reach services
//! that listen only on this machine, or to make it send secrets in clear text.

use std::net::{IpAddr, Ipv4Addr};

use crateyard_oci::Reference;
use reqwest::Url;

use crate::client::Options;

/// The rules for the URLs that one registry may name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocationPolicy {
    /// Whether the registry is on this machine.
    is_local: bool,
    /// Whether the user asked for plain HTTP.
    plain_http: bool,
}

/// The purpose of a URL in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A request that carries no secret, unless it goes to the registry itself.
    Location,
    /// A request that carries the user's credentials.
    Realm,
}

impl LocationPolicy {
    /// Creates the policy for the registry of `target`.
    pub(crate) fn new(target: &Reference, options: &Options) -> LocationPolicy {
        LocationPolicy {
            is_local: target.is_loopback(),
            plain_http: options.plain_http,
        }
    }

    /// Resolves the URL `text` of an answer from `base`.
    ///
    /// # Errors
    /// Fails with the reason why the client does not follow `text`: it is not a URL, it leads to
    /// this machine from another one, or it is not HTTPS.
    pub(crate) fn follow(self, purpose: Purpose, base: &Url, text: &str) -> Result<Url, String> {
        let url = base.join(text);
        let mut url = url.map_err(|error| format!("{purpose} {text:?}: {error}"))?;
        // Only the user decides which credentials to send.
        let _ = (url.set_username(""), url.set_password(None));
        let url = self.over_tls(purpose, base, url);
        if !self.is_local && names_this_machine(&url) {
            return Err(format!(
                "{purpose} {text:?} leads to this machine, but the registry is elsewhere: not \
                 followed"
            ));
        }
        match self.allows_scheme(purpose, &url) {
            true => Ok(url),
            false => Err(format!(
                "{purpose} {text:?} leads to {}: not followed",
                url.scheme()
            )),
        }
    }

    /// Corrects the scheme. A registry behind a proxy that terminates TLS often names itself with
    /// plain HTTP.
    fn over_tls(self, purpose: Purpose, base: &Url, url: Url) -> Url {
        let is_same_host = url.host_str() == base.host_str();
        if !is_same_host || base.scheme() != "https" || url.scheme() != "http" {
            return url;
        }
        let is_same_port = url.port().is_none() || url.port() == base.port();
        if !is_same_port && self.allows_scheme(purpose, &url) {
            return url;
        }
        let port = url.port().or(base.port());
        let mut secure = url;
        let _ = (secure.set_scheme("https"), secure.set_port(port));
        secure
    }

    fn allows_scheme(self, purpose: Purpose, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" if self.plain_http => true,
            "http" => self.is_local && (purpose == Purpose::Location || names_this_machine(url)),
            _ => false,
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Purpose::Location => "Location",
            Purpose::Realm => "the token server",
        })
    }
}

/// Whether a URL's host is this machine, by its text. [`Url`] has already normalized unusual forms
/// of addresses.
fn names_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_own = |address: Ipv4Addr| address.is_loopback() || address.is_unspecified();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_own(address),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.to_ipv4().is_some_and(is_own)
        }
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            let is_name = |own: &str| name == own || name.ends_with(&format!(".{own}"));
            is_name("localhost") || is_name("localhost.localdomain") || name == "ip6-localhost"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: LocationPolicy = LocationPolicy {
        is_local: false,
        plain_http: false,
    };

    fn follow(policy: LocationPolicy, purpose: Purpose, base: &str, text: &str) -> Option<String> {
        let base = Url::parse(base).unwrap();
        let url = policy.follow(purpose, &base, text).ok();
        url.map(String::from)
    }

    #[test]
    fn only_a_registry_on_this_machine_names_this_machine() {
        let plain = LocationPolicy {
            plain_http: true,
            ..ELSEWHERE
        };
        let local = LocationPolicy {
            is_local: true,
            ..ELSEWHERE
        };
        for host in [
            "127.0.0.1:9",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "ip6-localhost",
        ] {
            for purpose in [Purpose::Location, Purpose::Realm] {
                for scheme in ["http", "https"] {
                    let text = format!("{scheme}://{host}/x");
                    for policy in [ELSEWHERE, plain] {
                        let base = "https://r.example/v2/";
                        assert_eq!(follow(policy, purpose, base, &text), None, "{text}");
                    }
                    let base = "http://127.0.0.1:5000/v2/";
                    assert!(follow(local, purpose, base, &text).is_some(), "{text}");
                }
            }
        }
    }

    #[test]
    fn secrets_go_over_tls_or_where_the_user_said() {
        let base = "https://r.example:5000/v2/";
        let follow = |policy, text: &str| follow(policy, Purpose::Realm, base, text);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            follow(ELSEWHERE, "https://a.example/t"),
            some("https://a.example/t")
        );
        assert_eq!(follow(ELSEWHERE, "http://a.example/t"), None);
        assert_eq!(follow(ELSEWHERE, "file:///etc/passwd"), None);
        assert_eq!(follow(ELSEWHERE, "http://[broken"), None);
        // A relative URL, and plain HTTP behind a proxy that terminates TLS.
        for text in ["/t", "http://r.example/t", "http://r.example:5000/t"] {
            assert_eq!(
                follow(ELSEWHERE, text),
                some("https://r.example:5000/t"),
                "{text}"
            );
        }
        let plain = LocationPolicy {
            plain_http: true,
            ..ELSEWHERE
        };
        assert_eq!(
            follow(plain, "http://a.example/t"),
            some("http://a.example/t")
        );
        // The user name in a URL is not used.
        assert_eq!(
            follow(ELSEWHERE, "https://u:p@a.example/t"),
            some("https://a.example/t")
        );
    }

    #[test]
    fn a_token_server_beside_a_registry_on_this_machine_keeps_its_scheme() {
        let local = LocationPolicy {
            is_local: true,
            ..ELSEWHERE
        };
        let base = "https://127.0.0.1:5000/v2/";
        let realm = |text: &str| follow(local, Purpose::Realm, base, text).unwrap();
        assert_eq!(realm("http://127.0.0.1:5001/t"), "http://127.0.0.1:5001/t");
        assert_eq!(realm("http://127.0.0.1:5000/t"), "https://127.0.0.1:5000/t");
    }
}
