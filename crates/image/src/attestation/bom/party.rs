//! Authors, suppliers and maintainers.

use super::super::Subject;
use crate::spec::{InputsSpec, UnitInput};
use crateyard_spec::{is_crates_io, repository_owner};

/// A person or an organization. The name is empty if nobody knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Party {
    pub name: String,
    pub address: Option<String>,
    pub is_person: bool,
}

/// Words in the names of teams.
const TEAMS: [&str; 11] = [
    "authors",
    "community",
    "contributors",
    "developers",
    "foundation",
    "group",
    "maintainers",
    "project",
    "team",
    "packagers",
    "debian ",
];

impl Party {
    pub(super) fn organization(name: &str) -> Party {
        Party {
            name: plain(name),
            ..Party::default()
        }
    }

    /// Reads `NAME <ADDRESS>`. Debian's teams write from lists, and people have names of two words
    /// or more.
    pub(super) fn parse(text: &str) -> Option<Party> {
        let (name, address) = match text.split_once('<') {
            Some((name, rest)) => (name, rest.split('>').next()),
            None => (text, None),
        };
        let address = address.map(plain).filter(|it| it.contains('@'));
        let name = match plain(name) {
            name if name.is_empty() => address.clone()?,
            name => name,
        };
        let lower = name.to_lowercase();
        let is_team = TEAMS.iter().any(|word| lower.contains(word))
            || address.as_ref().is_some_and(|it| it.contains("@lists."));
        Some(Party {
            is_person: !is_team && name.contains(' '),
            name,
            address,
        })
    }
}

/// Returns the authors that a crate names.
pub(super) fn authors(unit: &UnitInput) -> Vec<Party> {
    // Cargo separates them by colons, and an address may hold one.
    let texts = unit.authors.split(':');
    texts.filter_map(Party::parse).collect()
}

/// Cleans a name. SPDX puts the address behind it into parentheses.
fn plain(text: &str) -> String {
    let text = text.replace(['(', ')', '"'], " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a crate's supplier: its first author, else the owner of its repository, else its
/// registry or host. The image's supplier, if there is one, also supplies the packages of the
/// workspace.
pub(super) fn of_crate(unit: &UnitInput, own: &Party) -> Party {
    if unit.source.is_empty() && !own.name.is_empty() {
        return own.clone();
    }
    let first = authors(unit).into_iter().next();
    let found = first.or_else(|| owner(&unit.repository));
    found.unwrap_or_else(|| match unit.source.as_str() {
        "" => own.clone(),
        git if git.starts_with("git+") => {
            owner(&git[4..]).unwrap_or_else(|| Party::organization(host(&git[4..])))
        }
        source if is_crates_io(source) => Party::organization("crates.io"),
        source => Party::organization(source.split_once('+').map_or(source, |(_, url)| url)),
    })
}

/// Returns an image's supplier: the one that its labels name, else that of its first program's
/// package.
pub(super) fn of_image(subject: &Subject<'_>, inputs: &InputsSpec) -> Party {
    let label = |name: &str| {
        subject
            .labels
            .get(&format!("org.opencontainers.image.{name}"))
    };
    let vendor = label("vendor").map(|name| Party::organization(name));
    let author = || label("authors").and_then(|text| Party::parse(text));
    let source = || label("source").and_then(|address| owner(address));
    let program = || {
        let unit = inputs.units.get(&inputs.programs.first()?.unit)?;
        Some(of_crate(unit, &Party::default()))
    };
    vendor
        .or_else(author)
        .or_else(source)
        .or_else(program)
        .unwrap_or_default()
}

fn owner(repository: &str) -> Option<Party> {
    repository_owner(repository).map(Party::organization)
}

/// Returns the host in `SCHEME://USER@HOST/…`, or the whole address if it has another form.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map(|(_, rest)| rest);
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let host = authority.and_then(|it| it.rsplit('@').next());
    host.filter(|it| !it.is_empty()).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_parentheses() {
        let vendor = Party::organization("Shop (Europe)\n Ltd");
        assert_eq!(vendor.name, "Shop Europe Ltd");
    }

    #[test]
    fn people_and_teams_are_told_apart() {
        let person = Party::parse("Santiago Vila <sanvila@debian.org>").unwrap();
        assert!(person.is_person);
        assert_eq!(person.address.as_deref(), Some("sanvila@debian.org"));
        for team in [
            "GNU Libc Maintainers <debian-glibc@lists.debian.org>",
            "The Rust Project Developers",
            "dtolnay",
        ] {
            assert!(!Party::parse(team).unwrap().is_person, "{team}");
        }
        assert_eq!(Party::parse(" "), None);
        assert_eq!(
            owner("https://github.com/tokio-rs/tokio").unwrap().name,
            "tokio-rs"
        );
    }

    #[test]
    fn hosts_are_named_without_users() {
        for (address, expected) in [
            ("https://host.example/scm/PROJ/shop.git#01", "host.example"),
            (
                "https://ann:secret@host.example:8443/shop",
                "host.example:8443",
            ),
            ("ssh://git@host.example", "host.example"),
            ("file:///srv/shop", "file:///srv/shop"),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
    }
}
