//! Version numbers, compared like `dpkg --compare-versions`.
//!
//! Grammar and order: <https://www.debian.org/doc/debian-policy/ch-controlfields.html#version>.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A package's version: `[epoch:]upstream[-revision]`.
///
/// Versions with different text may be equal (`1.0` and `1.0-0`, `1.01` and `1.1`): `Eq` and `Ord`
/// follow dpkg's order, not the text.
///
/// ```
/// use crateyard_debian::version::Version;
///
/// let release: Version = "1.0-2".parse()?;
/// let candidate: Version = "1.0~rc1-5".parse()?;
/// assert!(candidate < release);
/// # Ok::<(), crateyard_debian::version::VersionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Version {
    text: String,
    epoch: u32,
    /// Byte ranges of `text`: upstream version, then revision (empty if there is none).
    upstream: (usize, usize),
    revision: (usize, usize),
}

/// The error for a text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian version: {reason}")]
pub struct VersionError {
    text: String,
    reason: &'static str,
}

impl Version {
    /// Returns the version's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn upstream(&self) -> &[u8] {
        &self.text.as_bytes()[self.upstream.0..self.upstream.1]
    }

    fn revision(&self) -> &[u8] {
        &self.text.as_bytes()[self.revision.0..self.revision.1]
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(input: &str) -> Result<Self, VersionError> {
        let text = input.trim();
        let error = |reason| VersionError {
            text: text.to_owned(),
            reason,
        };
        let (epoch, start) = match text.split_once(':') {
            Some((epoch, _)) => (
                parse_epoch(epoch).ok_or_else(|| error("the epoch is not a number"))?,
                epoch.len() + 1,
            ),
            None => (0, 0),
        };
        let (upstream_end, revision_start) = match text[start..].rfind('-') {
            Some(dash) => (start + dash, start + dash + 1),
            None => (text.len(), text.len()),
        };
        let upstream = &text[start..upstream_end];
        let revision = &text[revision_start..];
        if upstream.is_empty() {
            return Err(error("the upstream version is empty"));
        }
        if revision_start > upstream_end && revision.is_empty() {
            return Err(error("the revision is empty"));
        }
        if !upstream
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+~:".contains(&b))
        {
            return Err(error(
                "the upstream version has a character outside A-Z a-z 0-9 . - + ~ :",
            ));
        }
        if !revision
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".+~".contains(&b))
        {
            return Err(error(
                "the revision has a character outside A-Z a-z 0-9 . + ~",
            ));
        }
        Ok(Version {
            epoch,
            upstream: (start, upstream_end),
            revision: (revision_start, text.len()),
            text: text.to_owned(),
        })
    }
}

/// Reads an epoch, which fits a C `int` as in dpkg.
fn parse_epoch(text: &str) -> Option<u32> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse()
        .ok()
        .filter(|epoch| i32::try_from(*epoch).is_ok())
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream(), other.upstream()))
            .then_with(|| compare_part(self.revision(), other.revision()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// Compares two upstream versions or two revisions: non-digits and digits in turn.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_text, a_rest) = a.split_at(length_while(a, |c| !c.is_ascii_digit()));
        let (b_text, b_rest) = b.split_at(length_while(b, |c| !c.is_ascii_digit()));
        let (a_number, a_rest) = a_rest.split_at(length_while(a_rest, |c| c.is_ascii_digit()));
        let (b_number, b_rest) = b_rest.split_at(length_while(b_rest, |c| c.is_ascii_digit()));
        let order = compare_text(a_text, b_text).then_with(|| compare_number(a_number, b_number));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    Ordering::Equal
}

/// Compares runs without digits: `~` sorts before the end, the end before letters, letters before
/// everything else.
fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|i| weight(a.get(i)).cmp(&weight(b.get(i))))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

/// Compares runs of digits as numbers of any length.
fn compare_number(a: &[u8], b: &[u8]) -> Ordering {
    let a = &a[length_while(a, |c| c == b'0')..];
    let b = &b[length_while(b, |c| c == b'0')..];
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn length_while(text: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|c| !accept(*c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect(text)
    }

    #[test]
    fn orders_as_policy_says() {
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~rc1-1",
            "1.0-0",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0a-1",
            "1.0.1-1",
            "1.10-1",
            "2",
            "1:0.1",
        ];
        for pair in ascending.windows(2) {
            assert!(
                version(pair[0]) < version(pair[1]),
                "{} < {}",
                pair[0],
                pair[1]
            );
        }
    }

    #[test]
    fn equal_versions_may_be_written_differently() {
        for (a, b) in [
            ("1.0", "1.0-0"),
            ("1.01", "1.1"),
            ("0:1", "1"),
            ("1.0-00", "1.0-0"),
        ] {
            assert_eq!(version(a), version(b));
        }
    }

    #[test]
    fn refuses_what_is_no_version() {
        for text in [
            "",
            "a:1",
            ":1",
            "1:",
            "1-",
            "1_0",
            "1 0",
            "99999999999:1",
            "1-1:1/",
        ] {
            assert!(text.parse::<Version>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn an_upstream_version_may_hold_colons_and_dashes() {
        let it = version("1:2:3-4-5");
        assert_eq!((it.upstream(), it.revision()), (&b"2:3-4"[..], &b"5"[..]));
    }
}
