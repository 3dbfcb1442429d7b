//! Keeps passwords in addresses out of messages.
//!
//! An address of a cache or a repository may have the name and password of an account in front of
//! its host, and messages of Nix, git and Cargo quote addresses.

use std::borrow::Cow;

/// Writes `…` in place of each password in the addresses of a text, which may be JSON.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    hide(Cow::Borrowed(text))
}

/// Does the same with a text that may already be a new one.
pub(crate) fn hide(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains("://") {
        return text;
    }
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        let is_web = shown.ends_with("http") || shown.ends_with("https");
        shown += "://";
        let end = rest.find(|it: char| it.is_whitespace() || "/?#\"'`<>".contains(it));
        let authority = &rest[..end.unwrap_or(rest.len())];
        let secret = authority.rfind('@').and_then(|at| {
            match authority[..at].find(':') {
                Some(colon) => Some(colon + 1..at),
                // A token alone is an account of its own. A name alone, as in ssh://git@…, is none.
                None => is_web.then_some(0..at),
            }
        });
        match secret {
            Some(secret) if !secret.is_empty() => {
                shown += &rest[..secret.start];
                shown.push('…');
                shown += &rest[secret.end..];
            }
            _ => shown += rest,
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        for (text, expected) in [
            (
                "unable to download 'https://bob:pass@c.example:80/a@b:c'",
                "unable to download 'https://bob:…@c.example:80/a@b:c'",
            ),
            (
                "http://a:b@c and git+https://t0k@d",
                "http://a:…@c and git+https://…@d",
            ),
            (
                "ssh://git@host, ssh://git:pw@host/x",
                "ssh://git@host, ssh://git:…@host/x",
            ),
            ("socks5://u:p@q@host", "socks5://u:…@host"),
            (
                "http://host:80/a:b@c http://host?a:b@c",
                "http://host:80/a:b@c http://host?a:b@c",
            ),
            ("https://:@x :// a:b@c", "https://:@x :// a:b@c"),
            ("name:tag@sha256:0", "name:tag@sha256:0"),
        ] {
            assert_eq!(hide(text.into()), expected);
            assert_eq!(hide(expected.into()), expected);
        }
    }
}
