//! References to images: `REGISTRY/REPOSITORY:TAG@DIGEST`, by docker's rules.

mod parse;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use self::parse::{check_repository, check_tag, parse, split_account};
use crate::Digest;

const DOCKER_HUB: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// The address of an image, which may not exist yet.
///
/// The grammar and the defaults are docker's ([reference]): a first part without `.`, `:` or
/// capital letters that is not `localhost` belongs to the repository, and the registry is then
/// `docker.io`, where repositories of one part are under `library/`. No other registry has
/// defaults.
///
/// ```
/// use crateyard_oci::Reference;
///
/// let reference: Reference = "localhost:5000/team/app:v1".parse()?;
/// assert_eq!(reference.registry(), "localhost:5000");
/// assert_eq!(reference.repository(), "team/app");
/// assert_eq!("debian".parse::<Reference>()?.to_string(), "docker.io/library/debian");
/// assert!("host_name.example/app".parse::<Reference>().is_err());
/// # Ok::<(), crateyard_oci::ParseReferenceError>(())
/// ```
///
/// [reference]: https://pkg.go.dev/github.com/distribution/reference
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference {text:?}: {reason}\n  try: {remedy}")]
pub struct ParseReferenceError {
    text: String,
    reason: String,
    remedy: &'static str,
}

impl ParseReferenceError {
    /// Makes an error that names the rule which a text breaks. It quotes the text, but not the
    /// password that somebody put in front of a registry.
    pub fn new(text: &str, reason: impl Into<String>) -> ParseReferenceError {
        match split_account(text) {
            Some((_, address)) => ParseReferenceError {
                text: format!("…@{address}"),
                reason: "an account and its password can't be part of it".to_owned(),
                remedy: "docker login REGISTRY, then the reference without the account",
            },
            None => ParseReferenceError {
                text: text.to_owned(),
                reason: reason.into(),
                remedy: "REGISTRY/REPOSITORY, then :TAG or @sha256:… where wanted",
            },
        }
    }
}

/// A name for an image, such as `gateway:0.1.0`: a [`Reference`] with a tag and without a digest.
/// No tag means `latest`.
///
/// ```
/// use crateyard_oci::ImageName;
///
/// let name: ImageName = "gateway".parse()?;
/// assert_eq!(name.to_string(), "docker.io/library/gateway:latest");
/// assert_eq!(name.familiar(), "gateway:latest");
/// # Ok::<(), crateyard_oci::ParseReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    repository: Reference,
    tag: String,
}

impl ImageName {
    /// Returns the tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the short form that `docker images` shows.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else {
            return full;
        };
        let short = short.strip_prefix(DEFAULT_NAMESPACE).unwrap_or(short);
        short.to_owned()
    }
}

impl FromStr for ImageName {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<ImageName, ParseReferenceError> {
        let fail = |reason: &str| ParseReferenceError {
            remedy: "NAME:TAG, such as gateway:0.1.0 or registry.example/team/gateway:0.1.0",
            ..ParseReferenceError::new(text, reason)
        };
        if split_account(text).is_some() {
            return Err(ParseReferenceError::new(text, ""));
        }
        if text.contains('@') {
            return Err(fail(
                "a digest can't be chosen, it follows from the content",
            ));
        }
        let reference: Reference = text
            .parse()
            .map_err(|error: ParseReferenceError| fail(&error.reason))?;
        Ok(ImageName {
            repository: reference.without_version(),
            tag: reference.tag.unwrap_or_else(|| DEFAULT_TAG.to_owned()),
        })
    }
}

impl fmt::Display for ImageName {
    /// Writes the full form that containerd and Kubernetes use, such as
    /// `docker.io/library/gateway:0.1.0`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.repository, self.tag)
    }
}

/// A manifest of a repository, by tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagOrDigest {
    /// The manifest that a tag names now.
    Tag(String),
    /// The manifest with this digest.
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TagOrDigest::Tag(tag) => formatter.write_str(tag),
            TagOrDigest::Digest(digest) => digest.fmt(formatter),
        }
    }
}

impl Reference {
    /// Returns the registry's host, with its port if the reference has one: `docker.io`,
    /// `localhost:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository in the registry: `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, if the reference has one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if the reference has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the manifest that the reference means: the digest, else the tag, else docker's
    /// `latest`.
    pub fn version(&self) -> TagOrDigest {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => TagOrDigest::Digest(digest.clone()),
            (None, Some(tag)) => TagOrDigest::Tag(tag.clone()),
            (None, None) => TagOrDigest::Tag(DEFAULT_TAG.to_owned()),
        }
    }

    /// Returns the repository alone, without tag and digest.
    pub fn without_version(&self) -> Reference {
        Reference {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    /// Returns the same repository with `tag` and no digest.
    ///
    /// # Errors
    /// When `tag` is not a tag.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ParseReferenceError> {
        check_tag(tag).map_err(|reason| ParseReferenceError::new(tag, reason))?;
        Ok(Reference {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// Returns the same repository with `digest` and no tag.
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        Reference {
            tag: None,
            digest: Some(digest.clone()),
            ..self.clone()
        }
    }

    /// Returns another repository of the same registry.
    ///
    /// # Errors
    /// When `repository` is not a repository's name.
    pub fn sibling(&self, repository: &str) -> Result<Reference, ParseReferenceError> {
        check_repository(repository)
            .map_err(|reason| ParseReferenceError::new(repository, reason))?;
        let registry = self.registry.clone();
        Ok(Reference {
            registry,
            repository: repository.to_owned(),
            tag: None,
            digest: None,
        })
    }

    /// Returns the host to talk to. docker.io's host has another name.
    pub fn endpoint(&self) -> &str {
        if self.registry == DOCKER_HUB {
            "registry-1.docker.io"
        } else {
            &self.registry
        }
    }

    /// Whether the registry is on this machine, where plain HTTP harms nobody.
    pub fn is_loopback(&self) -> bool {
        is_loopback(host_without_port(&self.registry))
    }
}

/// Whether `host` (no port; an IPv6 address with or without brackets) is this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Returns `localhost` for `localhost:5000` and `[::1]` for `[::1]:5000`.
pub(crate) fn host_without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Reference, ParseReferenceError> {
        parse(text).map_err(|reason| ParseReferenceError::new(text, reason))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    #[test]
    fn no_error_quotes_a_password() {
        let digest = digest();
        for text in [
            "user:secret@host.example/x",
            "user:secret@localhost",
            "secret@host.example/x:tag",
            "https://user:secret@host.example/x",
            "host.example/user:secret@x/y",
            &format!("user:sec@ret@host.example/x@{digest}"),
        ] {
            let named = text.parse::<ImageName>().unwrap_err();
            for error in [text.parse::<Reference>().unwrap_err(), named] {
                let said = error.to_string();
                assert!(!said.contains("sec"), "{said}");
                assert!(said.contains("docker login"), "{said}");
            }
        }
        let typo = "app@sha25:aa".parse::<Reference>().unwrap_err();
        assert!(typo.to_string().contains("\"app@sha25:aa\""), "{typo}");
    }

    #[test]
    fn defaults_are_dockers() {
        let cases = [
            ("debian", "docker.io/library/debian"),
            ("debian:12", "docker.io/library/debian:12"),
            ("team/app", "docker.io/team/app"),
            ("docker.io/debian", "docker.io/library/debian"),
            ("index.docker.io/debian", "docker.io/library/debian"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app", "localhost:5000/app"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
            ("127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t"),
            ("[::1]:5000/app:t", "[::1]:5000/app:t"),
            ("Host/app", "Host/app"),
            ("registry.example/app", "registry.example/app"),
            ("a--b/c__d/e.f_g", "docker.io/a--b/c__d/e.f_g"),
        ];
        for (text, full) in cases {
            assert_eq!(
                text.parse::<Reference>().unwrap().to_string(),
                full,
                "{text}"
            );
        }
    }

    #[test]
    fn names_have_a_tag_and_no_digest() {
        for (text, full, familiar) in [
            (
                "gateway:0.1.0",
                "docker.io/library/gateway:0.1.0",
                "gateway:0.1.0",
            ),
            (
                "team/gateway:1",
                "docker.io/team/gateway:1",
                "team/gateway:1",
            ),
            (
                "localhost:5000/a/b",
                "localhost:5000/a/b:latest",
                "localhost:5000/a/b:latest",
            ),
            ("ghcr.io/a/b:v1", "ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
        ] {
            let name: ImageName = text.parse().unwrap();
            assert_eq!(
                (name.to_string(), name.familiar()),
                (full.into(), familiar.into())
            );
        }
        for bad in [
            "",
            "A",
            "a:",
            "a:b c",
            "a/../b",
            "a//b",
            "a:.b",
            &format!("a@{}", digest()),
        ] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_version_is_the_digest_then_the_tag_then_latest() {
        let parse = |text: String| text.parse::<Reference>().unwrap().version();
        assert_eq!(
            parse("r.example/a".into()),
            TagOrDigest::Tag("latest".into())
        );
        assert_eq!(parse("r.example/a:t".into()), TagOrDigest::Tag("t".into()));
        let wanted = TagOrDigest::Digest(digest().parse().unwrap());
        assert_eq!(parse(format!("r.example/a@{}", digest())), wanted);
        assert_eq!(parse(format!("r.example/a:t@{}", digest())), wanted);
    }

    #[test]
    fn invalid_references_are_refused() {
        let long = format!("r.example/{}", "a".repeat(256));
        let tag = format!("r.example/a:{}", "t".repeat(129));
        let cases = [
            "",
            ":tag",
            "@",
            "A/b/C",
            "r.example/A",
            "r.example/a:",
            "r.example/a:-t",
            "r.example/a b",
            "r.example/../a",
            "r.example//a",
            "r.example/a/",
            "r.example:port/a",
            "r.example:70000/a",
            "https://r.example/a",
            "r.example/a@sha256:12",
            "r.example/a___b",
            "r.example/a._b",
            "[::1/a",
            "r..e/a",
            "-r.example/a",
            &long,
            &tag,
        ];
        for text in cases {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        let is_loopback = |text: &str| text.parse::<Reference>().unwrap().is_loopback();
        for text in [
            "localhost/a",
            "localhost:5000/a",
            "127.0.0.1:1/a",
            "127.1.2.3/a",
            "[::1]:5000/a",
        ] {
            assert!(is_loopback(text), "{text}");
        }
        for text in [
            "debian",
            "localhost.example/a",
            "10.0.0.1:5000/a",
            "192.168.0.1/a",
            "127.0.0.1.example/a",
        ] {
            assert!(!is_loopback(text), "{text}");
        }
    }
}
