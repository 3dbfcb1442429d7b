//! Image references as people write them, and as docker and containerd spell them out.

use std::fmt;
use std::str::FromStr;

/// A reference such as `gateway:0.1.0` or `ghcr.io/crateyard/gateway:0.1.0`, without a digest.
///
/// Familiar names are expanded as docker does: no registry means `docker.io`, no namespace there
/// means `library`, no tag means `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

/// A text that is not a reference.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{text:?} is not an image reference: {problem}; write NAME:TAG, such as gateway:0.1.0 or registry.example/team/gateway:0.1.0"
)]
pub struct ParseReferenceError {
    text: String,
    problem: &'static str,
}

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library/";

impl Reference {
    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The short form that `docker images` shows.
    pub fn familiar(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.to_string();
        }
        let short = self
            .repository
            .strip_prefix(DEFAULT_NAMESPACE)
            .unwrap_or(&self.repository);
        format!("{short}:{}", self.tag)
    }
}

impl fmt::Display for Reference {
    /// The full form that containerd and Kubernetes use, such as `docker.io/library/gateway:0.1.0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Reference, ParseReferenceError> {
        let fail = |problem| ParseReferenceError {
            text: text.to_owned(),
            problem,
        };
        if text.contains('@') {
            return Err(fail(
                "a digest can't be chosen, it follows from the content",
            ));
        }
        let (name, tag) = split_tag(text);
        if !is_tag(tag) {
            return Err(fail(
                "a tag has letters, digits, '_', '.' and '-', starts with none of the latter two, and has at most 128 characters",
            ));
        }
        let (registry, repository) = split_registry(name);
        if !repository.split('/').all(is_component) {
            return Err(fail(
                "a repository has lower-case letters and digits, separated by '/', '.', '_', '__' or '-'",
            ));
        }
        let namespace = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            DEFAULT_NAMESPACE
        } else {
            ""
        };
        Ok(Reference {
            registry: registry.to_owned(),
            repository: format!("{namespace}{repository}"),
            tag: tag.to_owned(),
        })
    }
}

/// A colon in the last path component starts the tag; one before is a port.
fn split_tag(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (text, "latest"),
    }
}

/// The first component is a registry if it looks like a host.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    component.bytes().next().is_some_and(alphanumeric)
        && component.bytes().last().is_some_and(alphanumeric)
        && component
            .bytes()
            .all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
        && !component.contains("..")
        && !component.contains("___")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_spelled_out() {
        for (text, full, familiar) in [
            (
                "gateway",
                "docker.io/library/gateway:latest",
                "gateway:latest",
            ),
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
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
        }
        for bad in [
            "",
            "A",
            "a:",
            "a:b c",
            "a/../b",
            "a@sha256:00",
            "a//b",
            "a:.b",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
