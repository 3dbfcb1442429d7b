//! References to flakes. flake.nix has them as addresses or as attributes, and flake.lock as
//! attributes.
//!
//! Nix fetches an input again if the two differ in a letter. So an address whose attributes differ
//! between versions of Nix is none of these here.
//!
//! Format: <https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#flake-references>.

use serde_json::{Map, Value};

/// The hosts of repositories that have a scheme of their own.
const HOSTS: [&str; 3] = ["github", "gitlab", "sourcehut"];
/// The attributes of an input that do not belong to its reference.
const OTHERS: [&str; 3] = ["flake", "inputs", "follows"];
/// The parameters that Nix makes attributes of, for repositories with a scheme of their own.
const OF_HOSTS: [&str; 4] = ["ref", "rev", "host", "dir"];
/// The same for other repositories.
const OF_REPOSITORIES: [&str; 2] = ["ref", "rev"];
/// The parameters of an archive's address that some versions of Nix make attributes of.
const OF_ARCHIVES: [&str; 5] = ["dir", "narHash", "rev", "revCount", "lastModified"];

/// Returns the attributes of a reference: of an input in flake.nix, or of one in flake.lock. An
/// input without a place is the flake `name` of Nix's registry. The result is `None` if another
/// version of Nix may read an address in another way.
pub(crate) fn attributes(name: &str, input: &Map<String, Value>) -> Option<Map<String, Value>> {
    match input.get("url").and_then(Value::as_str) {
        _ if input.contains_key("type") => {
            let own = input
                .iter()
                .filter(|(name, _)| !OTHERS.contains(&name.as_str()));
            Some(
                own.map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            )
        }
        Some(url) => of_address(url),
        None => of_address(name),
    }
}

fn of_address(address: &str) -> Option<Map<String, Value>> {
    if address.contains(['%', '#']) {
        return None;
    }
    let (scheme, rest) = address.split_once(':').unwrap_or(("flake", address));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    match scheme.split_once('+').unwrap_or(("", scheme)) {
        (kind @ ("git" | "hg"), inner) => {
            let mut found = named(OF_REPOSITORIES, query)?;
            found.extend(of_type(kind, "url", &format!("{inner}:{place}")));
            Some(found)
        }
        ("", host) if HOSTS.contains(&host) => {
            let mut found = named(OF_HOSTS, query)?;
            found.insert("type".into(), host.into());
            add_words(&mut found, &["owner", "repo"], place);
            Some(found)
        }
        ("", "flake") if query.is_empty() => {
            let mut found = Map::from_iter([("type".into(), "indirect".into())]);
            add_words(&mut found, &["id"], place);
            Some(found)
        }
        ("", "path") if query.is_empty() => Some(of_type("path", "path", place)),
        ("" | "tarball", "http" | "https" | "file") => {
            of_archive("tarball", address.trim_start_matches("tarball+"), query)
        }
        ("file", "http" | "https" | "file") => {
            of_archive("file", address.trim_start_matches("file+"), query)
        }
        _ => None,
    }
}

/// Returns the attributes of a file on the network or on this machine, which keeps the parameters
/// in its address.
fn of_archive(kind: &str, url: &str, query: &str) -> Option<Map<String, Value>> {
    let mut names = parameters(query).map(|text| text.split('=').next().unwrap_or_default());
    let is_plain = names.all(|name| !OF_ARCHIVES.contains(&name));
    is_plain.then(|| of_type(kind, "url", url))
}

/// Returns a reference of two attributes: its type and its place.
fn of_type(kind: &str, attribute: &str, place: &str) -> Map<String, Value> {
    let all = [("type", kind), (attribute, place)];
    Map::from_iter(all.map(|(name, value)| (name.to_owned(), value.into())))
}

/// Adds the parts of a path such as `OWNER/REPO/main`: the named ones, then the version.
fn add_words(found: &mut Map<String, Value>, parts: &[&str], path: &str) {
    let mut words = path.split('/').filter(|word| !word.is_empty());
    for (part, word) in parts.iter().zip(&mut words) {
        found.insert((*part).into(), word.into());
    }
    add_version(found, words.collect());
}

/// Adds the branch, tag or commit at the end of a path.
fn add_version(found: &mut Map<String, Value>, mut words: Vec<&str>) {
    let is_commit = |word: &str| word.len() == 40 && word.bytes().all(|it| it.is_ascii_hexdigit());
    if let Some(commit) = words.last().copied().filter(|word| is_commit(word)) {
        words.pop();
        found.insert("rev".into(), commit.into());
    }
    if !words.is_empty() {
        found.insert("ref".into(), words.join("/").into());
    }
}

/// Reads parameters (`ref=main`) as attributes. Returns `None` if there are others than `known`.
fn named<const N: usize>(known: [&str; N], query: &str) -> Option<Map<String, Value>> {
    let read = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        known
            .contains(&name)
            .then(|| (name.to_owned(), value.into()))
    };
    parameters(query).map(read).collect()
}

fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|parameter| !parameter.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(input: Value) -> Option<Value> {
        attributes("x", input.as_object().unwrap()).map(Value::Object)
    }

    /// As Nix 2.8 writes them to flake.lock.
    #[test]
    fn an_address_is_what_nix_writes_to_the_lock() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (address, lock) in [
            (
                "github:a/b",
                json!({ "type": "github", "owner": "a", "repo": "b" }),
            ),
            (
                "github:a/b/main?dir=c&host=h",
                json!({ "type": "github", "owner": "a", "repo": "b", "ref": "main", "dir": "c",
                    "host": "h" }),
            ),
            (
                &format!("sourcehut:~a/b/{commit}"),
                json!({ "type": "sourcehut", "owner": "~a", "repo": "b", "rev": commit }),
            ),
            (
                &format!("nixpkgs/nixos-25.05/{commit}"),
                json!({ "type": "indirect", "id": "nixpkgs", "ref": "nixos-25.05", "rev": commit }),
            ),
            (
                "flake:nixpkgs",
                json!({ "type": "indirect", "id": "nixpkgs" }),
            ),
            (
                "git+https://h/a.git?ref=main",
                json!({ "type": "git", "url": "https://h/a.git", "ref": "main" }),
            ),
            (
                "git+ssh://git@h/a?rev=c",
                json!({ "type": "git", "url": "ssh://git@h/a", "rev": "c" }),
            ),
            (
                "https://h/a.tar.gz",
                json!({ "type": "tarball", "url": "https://h/a.tar.gz" }),
            ),
            (
                "https://h/a?b=c",
                json!({ "type": "tarball", "url": "https://h/a?b=c" }),
            ),
            (
                "file+https://h/a",
                json!({ "type": "file", "url": "https://h/a" }),
            ),
            (
                "tarball+https://h/a",
                json!({ "type": "tarball", "url": "https://h/a" }),
            ),
            (
                "hg+https://h/a",
                json!({ "type": "hg", "url": "https://h/a" }),
            ),
            ("path:/a", json!({ "type": "path", "path": "/a" })),
            ("path:./a", json!({ "type": "path", "path": "./a" })),
        ] {
            assert_eq!(
                of(json!({ "url": address, "flake": true })),
                Some(lock),
                "{address}"
            );
        }
        assert_eq!(
            of(json!({})),
            Some(json!({ "type": "indirect", "id": "x" }))
        );
        let attributes = json!({ "type": "git", "url": "https://h/a?b", "submodules": true });
        assert_eq!(of(attributes.clone()), Some(attributes));
    }

    #[test]
    fn an_address_that_versions_of_nix_read_differently_is_none() {
        for address in [
            "git+https://h/a?submodules=1",
            "git+https://h/a?dir=b",
            "git+https://h/%61",
            "https://h/a.tar.gz?narHash=b",
            "github:a/b?submodules",
            "path:/a?lastModified=1",
            "path:/a?x=1",
            "flake:a?x=1",
            "tarball+https://h/a?rev=b",
            "file+ftp://h/a",
            "s3://h/a",
            "git:h/a",
        ] {
            assert_eq!(of(json!({ "url": address })), None, "{address}");
        }
    }
}
