//! The grammar of references.

use super::{DEFAULT_NAMESPACE, DOCKER_HUB, Reference};
use crate::Digest;

/// The longest repository and the longest tag, in characters.
const MAX_REPOSITORY_LENGTH: usize = 255;
const MAX_TAG_LENGTH: usize = 128;

/// Parses a reference. The error says why the text is none.
pub(super) fn parse(text: &str) -> Result<Reference, String> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!(
            "a reference can't contain {scheme}://; there is an option for plain HTTP"
        ));
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (
            name,
            Some(
                digest
                    .parse::<Digest>()
                    .map_err(|error| error.to_string())?,
            ),
        ),
        None => (text, None),
    };
    let (name, tag) = split_tag(name);
    let (registry, repository) = split_registry(name);
    check_registry(&registry)?;
    check_repository(&repository)?;
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    Ok(Reference {
        registry,
        repository,
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// Splits a text into an account and the address after it, as in `NAME:PASSWORD@REGISTRY/…`; `None`
/// if it has no account. The name in front of a digest is none.
pub(super) fn split_account(text: &str) -> Option<(&str, &str)> {
    let without_digest = text
        .find("@sha256:")
        .or_else(|| text.find("@sha512:"))
        .unwrap_or(text.len());
    let at = text[..without_digest].rfind('@')?;
    let (account, address) = (&text[..at], &text[at + 1..]);
    let is_one = account.contains(':') || address.contains(['/', '.']);
    is_one.then_some((account, address))
}

/// Splits off the tag, which follows the last colon. A colon before a slash precedes a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    }
}

fn split_registry(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
        _ => (DOCKER_HUB, name.to_owned()),
    };
    // This is docker.io's old name.
    let registry = if registry == "index.docker.io" {
        DOCKER_HUB
    } else {
        registry
    };
    if registry == DOCKER_HUB && !repository.contains('/') {
        return (
            registry.to_owned(),
            format!("{DEFAULT_NAMESPACE}{repository}"),
        );
    }
    (registry.to_owned(), repository)
}

fn is_registry(part: &str) -> bool {
    part == "localhost"
        || part.contains(['.', ':'])
        || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("{registry:?} has no valid port"));
    }
    let is_name = !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    let is_address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if is_name || is_address {
        Ok(())
    } else {
        Err(format!("{host:?} is not a host name"))
    }
}

/// Checks `path-component ["/" path-component]*`. Each component has lower-case letters and digits,
/// joined by `.`, `_`, `__` or dashes.
pub(super) fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("the repository is missing".to_owned());
    }
    if repository.len() > MAX_REPOSITORY_LENGTH {
        return Err(format!(
            "the repository is longer than {MAX_REPOSITORY_LENGTH} characters"
        ));
    }
    for part in repository.split('/') {
        if !is_path_component(part) {
            return Err(format!(
                "{part:?} in the repository: lower-case letters and digits, joined by '.', '_', \
                 '__' or dashes"
            ));
        }
    }
    Ok(())
}

fn is_path_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_edge = |byte: Option<u8>| byte.is_some_and(is_word);
    let separators = part.split(|character: char| is_word(u8::try_from(character).unwrap_or(b'?')));
    is_edge(part.bytes().next())
        && is_edge(part.bytes().last())
        && separators.into_iter().all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

pub(super) fn check_tag(tag: &str) -> Result<(), String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts_well = tag.bytes().next().is_some_and(is_word);
    let is_tag = starts_well
        && tag
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
    if !is_tag {
        return Err(format!(
            "tag {tag:?}: letters, digits, '_', '.' and '-', beginning with none of the last two"
        ));
    }
    if tag.len() > MAX_TAG_LENGTH {
        return Err(format!(
            "the tag is longer than {MAX_TAG_LENGTH} characters"
        ));
    }
    Ok(())
}
