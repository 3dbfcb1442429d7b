//! One advisory of RustSec's database: a Markdown file that begins with TOML.
//!
//! Format: <https://github.com/RustSec/advisory-db#advisory-format>.

use std::collections::BTreeMap;
use std::str::FromStr;

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::{Error, Kind, Result, range};

/// The line that begins and ends the TOML.
const FENCE: &str = "```";

/// An advisory about a crate of crates.io, or about a part of a release of the Rust project.
#[derive(Debug, Clone)]
pub struct Advisory {
    /// Its identifier: `RUSTSEC-2024-0001`, or that of a CVE.
    pub id: String,
    /// The crate, or `std`, `cargo`, `rustdoc`.
    pub package: String,
    /// Identifiers that others gave to the same vulnerability.
    pub aliases: Vec<String>,
    /// A summary in one line.
    pub title: String,
    /// The address of a page with details.
    pub url: Option<String>,
    /// When it was published: `2024-01-31`.
    pub date: String,
    /// The sort of the advisory.
    pub kind: Kind,
    /// `low` to `critical`, from its CVSS vector.
    pub severity: Option<String>,
    /// Whether the advisory was withdrawn.
    pub is_withdrawn: bool,
    /// The versions with the fix.
    pub patched: Vec<VersionReq>,
    /// The versions that never had the fault.
    pub unaffected: Vec<VersionReq>,
    /// The processors that it is limited to, as rustc names them; empty if there is no limit.
    pub arch: Vec<String>,
    /// The operating systems that it is limited to, as rustc names them; empty if there is no
    /// limit.
    pub os: Vec<String>,
    /// The paths of the functions with the fault, each with the versions that have it.
    pub functions: BTreeMap<String, Vec<VersionReq>>,
}

#[derive(Deserialize)]
struct Front {
    advisory: About,
    #[serde(default)]
    affected: Affected,
    #[serde(default)]
    versions: Versions,
}

#[derive(Deserialize)]
struct About {
    id: String,
    package: String,
    date: String,
    #[serde(default)]
    aliases: Vec<String>,
    url: Option<String>,
    informational: Option<String>,
    cvss: Option<String>,
    withdrawn: Option<String>,
}

#[derive(Default, Deserialize)]
struct Affected {
    #[serde(default)]
    arch: Vec<String>,
    #[serde(default)]
    os: Vec<String>,
    #[serde(default)]
    functions: BTreeMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Versions {
    #[serde(default)]
    patched: Vec<String>,
    #[serde(default)]
    unaffected: Vec<String>,
}

impl Advisory {
    /// Reads an advisory. Errors call it `file`.
    ///
    /// # Errors
    /// Names the wrong line. Skipping a malformed advisory would miss a vulnerability.
    pub fn parse(file: &str, text: &str) -> Result<Advisory> {
        let (front, body) = split(file, text)?;
        let read: Front =
            toml::from_str(front).map_err(|error| Error::toml(file, front, 2, &error))?;
        let requirements = |texts: &[String]| -> Result<Vec<VersionReq>> {
            texts.iter().map(|text| requirement(file, text)).collect()
        };
        let about = read.advisory;
        let functions = read.affected.functions.iter();
        let title = body.lines().find_map(|line| line.strip_prefix("# "));
        Ok(Advisory {
            title: title.unwrap_or(&about.id).trim().to_owned(),
            kind: kind(about.informational.as_deref()),
            severity: about.cvss.as_deref().and_then(severity),
            is_withdrawn: about.withdrawn.is_some(),
            patched: requirements(&read.versions.patched)?,
            unaffected: requirements(&read.versions.unaffected)?,
            functions: functions
                .map(|(path, texts)| Ok((path.clone(), requirements(texts)?)))
                .collect::<Result<_>>()?,
            arch: read.affected.arch,
            os: read.affected.os,
            id: about.id,
            package: about.package,
            aliases: about.aliases,
            url: about.url,
            date: about.date,
        })
    }

    /// Whether a version has the fault.
    pub fn about(&self, version: &Version) -> Said {
        let is_in = |ranges: &[VersionReq]| ranges.iter().any(|it| range::contains(it, version));
        if is_in(&self.patched) {
            Said::Patched
        } else if is_in(&self.unaffected) {
            Said::Unaffected
        } else {
            Said::Vulnerable
        }
    }

    /// The functions that have the fault in this version.
    pub(crate) fn functions_in(&self, version: &Version) -> Vec<String> {
        let has = |ranges: &[VersionReq]| ranges.iter().any(|it| range::contains(it, version));
        let found = self.functions.iter().filter(|(_, ranges)| has(ranges));
        found.map(|(path, _)| path.clone()).collect()
    }

    /// Whether `id` is its identifier or one of its aliases.
    pub fn is_called(&self, id: &str) -> bool {
        self.id == id || self.aliases.iter().any(|alias| alias == id)
    }
}

/// Whether a version has the fault of an advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It has the fault.
    Vulnerable,
    /// It has the fix.
    Patched,
    /// It never had the fault.
    Unaffected,
}

/// The TOML and the text after it.
fn split<'a>(file: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    let wrong = |problem: &str| Error::form(format!("{file}:1"), problem);
    let text = text.trim_start_matches('\u{feff}');
    let rest = text
        .strip_prefix(FENCE)
        .and_then(|rest| rest.strip_prefix("toml"));
    let rest = rest.and_then(|rest| rest.strip_prefix('\n').or(rest.strip_prefix("\r\n")));
    let rest = rest.ok_or_else(|| wrong("an advisory begins with a line ```toml"))?;
    let end = rest
        .find("\n```")
        .ok_or_else(|| wrong("the block ```toml does not end"))?;
    Ok((&rest[..=end], &rest[end + 1 + FENCE.len()..]))
}

fn requirement(file: &str, text: &str) -> Result<VersionReq> {
    VersionReq::from_str(text)
        .map_err(|error| Error::form(file, format!("versions {text:?} can't be read: {error}")))
}

fn kind(informational: Option<&str>) -> Kind {
    match informational {
        None => Kind::Vulnerability,
        Some("unsound") => Kind::Unsound,
        Some("unmaintained") => Kind::Unmaintained,
        Some(_) => Kind::Notice,
    }
}

/// CVSS's name for the score of a vector. `None` for an unreadable vector, which says nothing about
/// the versions.
fn severity(vector: &str) -> Option<String> {
    let vector = cvss::Cvss::from_str(vector).ok()?;
    Some(vector.severity().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"```toml
[advisory]
id = "RUSTSEC-2099-0001"
package = "example"
date = "2099-01-31"
aliases = ["CVE-2099-1"]
cvss = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"

[affected]
os = ["windows"]
functions = { "example::parse" = [">= 0.3.0, < 1.2.0"] }

[versions]
patched = [">= 1.2.0", "^1.1.5"]
unaffected = ["< 0.2.0"]
```

# A reader overruns its buffer

More is said here, with ``` and all.
"#;

    #[test]
    fn every_field_is_read() {
        let advisory = Advisory::parse("a.md", TEXT).unwrap();
        assert_eq!(advisory.title, "A reader overruns its buffer");
        assert_eq!(advisory.severity.as_deref(), Some("critical"));
        assert_eq!(advisory.kind, Kind::Vulnerability);
        assert!(advisory.is_called("CVE-2099-1") && !advisory.is_called("CVE-2099-10"));
        let about = |version: &str| advisory.about(&version.parse().unwrap());
        assert_eq!(about("1.0.0"), Said::Vulnerable);
        assert_eq!(about("1.2.0-rc.1"), Said::Patched);
        assert_eq!(about("1.1.6"), Said::Patched);
        assert_eq!(about("0.1.9"), Said::Unaffected);
        let functions = |version: &str| advisory.functions_in(&version.parse().unwrap());
        assert_eq!(functions("1.0.0"), ["example::parse"]);
        assert!(functions("0.2.5").is_empty());
    }

    #[test]
    fn an_error_names_the_line() {
        for (from, to, expected) in [
            (
                "```toml\n",
                "",
                "a.md:1: an advisory begins with a line ```toml",
            ),
            ("id = ", "id = 1 #", "a.md:3: invalid type: integer"),
            (
                "date = \"2099-01-31\"\n",
                "",
                "a.md:2: missing field `date`",
            ),
            (
                "\"< 0.2.0\"",
                "\"< zero\"",
                "versions \"< zero\" can't be read",
            ),
        ] {
            let text = TEXT.replacen(from, to, 1);
            let error = Advisory::parse("a.md", &text).unwrap_err().to_string();
            assert!(
                error.starts_with(expected) || error.contains(expected),
                "{error}"
            );
        }
    }
}
