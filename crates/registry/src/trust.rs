//! Where a registry may lead its clients: an upload's place, a redirect, a token server.
//!
//! A registry's answers are text from outside. Whoever writes them must reach nothing through this program that they
//! can't reach themselves: services that listen on this machine alone, and secrets on a wire in clear text.

use std::net::{IpAddr, Ipv4Addr};

use crateyard_oci::Reference;
use reqwest::Url;

use crate::client::Options;

/// What one registry is trusted with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    /// Whether the registry is itself on this machine.
    is_local: bool,
    /// Whether the user asked for plain HTTP.
    plain_http: bool,
}

/// What an answer names a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A request that carries no secret, unless it goes to the registry itself.
    Location,
    /// A request that carries the user's credentials.
    Realm,
}

impl Trust {
    /// The trust in the registry of `target`.
    pub fn new(target: &Reference, options: &Options) -> Trust {
        Trust {
            is_local: target.is_loopback(),
            plain_http: options.plain_http,
        }
    }

    /// The URL that `text`, of an answer from `base`, means.
    ///
    /// # Errors
    /// Says why it is not followed: it is no URL, leads to this machine from elsewhere, or is no HTTPS.
    pub fn follow(self, purpose: Purpose, base: &Url, text: &str) -> Result<Url, String> {
        let url = base.join(text);
        let mut url = url.map_err(|error| format!("{purpose} {text:?}: {error}"))?;
        // Nobody but the user says who the user is.
        let _ = (url.set_username(""), url.set_password(None));
        let url = self.over_tls(purpose, base, url);
        if !self.is_local && names_this_machine(&url) {
            return Err(format!(
                "{purpose} {text:?} leads to this machine, and the registry is elsewhere: not followed"
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

    /// Registries behind a proxy that ends TLS often do not know it, and name themselves in plain HTTP.
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

/// Whether a URL's host is this machine by its looks. [`Url`] has written odd forms of addresses out before.
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

    const ELSEWHERE: Trust = Trust {
        is_local: false,
        plain_http: false,
    };

    fn follow(trust: Trust, purpose: Purpose, base: &str, text: &str) -> Option<String> {
        let base = Url::parse(base).unwrap();
        let url = trust.follow(purpose, &base, text).ok();
        url.map(String::from)
    }

    #[test]
    fn only_a_registry_on_this_machine_names_this_machine() {
        let plain = Trust {
            plain_http: true,
            ..ELSEWHERE
        };
        let local = Trust {
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
                    for trust in [ELSEWHERE, plain] {
                        let base = "https://r.example/v2/";
                        assert_eq!(follow(trust, purpose, base, &text), None, "{text}");
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
        let follow = |trust, text: &str| follow(trust, Purpose::Realm, base, text);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            follow(ELSEWHERE, "https://a.example/t"),
            some("https://a.example/t")
        );
        assert_eq!(follow(ELSEWHERE, "http://a.example/t"), None);
        assert_eq!(follow(ELSEWHERE, "file:///etc/passwd"), None);
        assert_eq!(follow(ELSEWHERE, "http://[broken"), None);
        // Relative, and in plain HTTP behind a proxy that ends TLS.
        for text in ["/t", "http://r.example/t", "http://r.example:5000/t"] {
            assert_eq!(
                follow(ELSEWHERE, text),
                some("https://r.example:5000/t"),
                "{text}"
            );
        }
        let plain = Trust {
            plain_http: true,
            ..ELSEWHERE
        };
        assert_eq!(
            follow(plain, "http://a.example/t"),
            some("http://a.example/t")
        );
        // A user's name in a URL is not the user's.
        assert_eq!(
            follow(ELSEWHERE, "https://u:p@a.example/t"),
            some("https://a.example/t")
        );
    }

    #[test]
    fn a_token_server_beside_a_registry_on_this_machine_keeps_its_scheme() {
        let local = Trust {
            is_local: true,
            ..ELSEWHERE
        };
        let base = "https://127.0.0.1:5000/v2/";
        let realm = |text: &str| follow(local, Purpose::Realm, base, text).unwrap();
        assert_eq!(realm("http://127.0.0.1:5001/t"), "http://127.0.0.1:5001/t");
        assert_eq!(realm("http://127.0.0.1:5000/t"), "https://127.0.0.1:5000/t");
    }
}
