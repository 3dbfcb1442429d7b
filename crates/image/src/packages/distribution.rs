//! The distribution that an image's packages come from.

use crate::files::Listing;

/// The places of the file that names the distribution.
/// <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>
pub(super) const FILES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

const DEBIAN: &str = "debian";

/// A distribution of Debian packages: Debian, or one that is made of its packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The name: `debian`, `ubuntu`.
    pub id: String,
    /// The number of the release, if it is known: `12`, `24.04`.
    pub release: Option<String>,
}

impl Distribution {
    /// Returns Debian's release with this number.
    pub fn debian(release: Option<&str>) -> Distribution {
        Distribution {
            id: DEBIAN.to_owned(),
            release: release.map(str::to_owned),
        }
    }

    /// Whether it is Debian itself.
    pub fn is_debian(&self) -> bool {
        self.id == DEBIAN
    }

    /// Returns the distribution that an image names.
    pub(crate) fn of(listing: &Listing) -> Option<Distribution> {
        let kept = |path: &&str| listing.kept().get(*path);
        FILES.iter().find_map(kept).and_then(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            Distribution::parse(&text)
        })
    }

    fn parse(text: &str) -> Option<Distribution> {
        let field = |name: &str| {
            let fields = text.lines().filter_map(|line| line.split_once('='));
            let mut values = fields.filter(|(key, _)| key.trim() == name);
            let value = values.next_back()?.1.trim();
            let value = value.trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        };
        Some(Distribution {
            id: field("ID")?.to_ascii_lowercase(),
            release: field("VERSION_ID"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_may_quote_its_values() {
        let text = "NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n";
        let ubuntu = Distribution::parse(text).unwrap();
        assert_eq!(
            (ubuntu.id.as_str(), ubuntu.release.as_deref()),
            ("ubuntu", Some("24.04"))
        );
        assert!(!ubuntu.is_debian());
        assert_eq!(
            Distribution::parse("ID='debian'\n"),
            Some(Distribution::debian(None))
        );
        assert_eq!(Distribution::parse("NAME=None\n"), None);
    }
}
