//! The rules that a lock follows beyond its form.

use std::collections::BTreeSet;

use crateyard_oci::digest::is_sha256;

use super::text::json;
use super::{Lock, Package, Suite, VERSION};
use crate::relation::is_name;

impl Lock {
    /// Finds the first fault, and a text that occurs in its line.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        if self.version != VERSION {
            let reason = format!(
                "version {}, but this program reads version {VERSION}",
                self.version
            );
            return Some(("\"version\"".to_owned(), reason));
        }
        if !is_timestamp(&self.snapshot) {
            let reason = format!("snapshot `{}` is not YYYYMMDDTHHMMSSZ", self.snapshot);
            return Some(("\"snapshot\"".to_owned(), reason));
        }
        self.suite_fault()
            .or_else(|| self.set_fault())
            .or_else(|| self.package_fault())
    }

    fn suite_fault(&self) -> Option<(String, String)> {
        let name_fits = |suite: &Suite| match suite.url {
            Some(_) => suite
                .name
                .split('/')
                .all(|part| part.is_empty() || is_name(part)),
            None => is_name(&suite.name),
        };
        if let Some(suite) = self
            .suites
            .iter()
            .find(|suite| !is_name(&suite.archive) || !name_fits(suite))
        {
            let reason = format!(
                "suite `{}` of archive `{}`: not a plain name",
                suite.name, suite.archive
            );
            return Some((json(&suite.name), reason));
        }
        let url = self
            .suites
            .iter()
            .filter_map(|suite| suite.url.as_ref())
            .find(|url| !is_address(url))?;
        let reason = format!("the address `{url}` is not one of http:// or https://");
        Some((json(url), reason))
    }

    fn set_fault(&self) -> Option<(String, String)> {
        for (name, architectures) in &self.sets {
            for (architecture, keys) in architectures {
                let mut pairs = keys.iter().zip(keys.iter().skip(1));
                if let Some((_, key)) = pairs.find(|(one, other)| one >= other) {
                    let reason =
                        format!("set {name} for {architecture}: `{key}` is not in sorted order");
                    return Some((json(key), reason));
                }
                if let Some(key) = keys.iter().find(|key| !self.packages.contains_key(*key)) {
                    let reason = format!(
                        "set {name} for {architecture} names `{key}`, which `packages` lacks"
                    );
                    return Some((json(key), reason));
                }
            }
        }
        None
    }

    fn package_fault(&self) -> Option<(String, String)> {
        let used: BTreeSet<&String> = self
            .sets
            .values()
            .flat_map(|set| set.values().flatten())
            .collect();
        self.packages.iter().find_map(|(key, package)| {
            let reason = self.reason_against(key, package, used.contains(key))?;
            Some((
                format!("{}: {{", json(key)),
                format!("package `{key}`: {reason}"),
            ))
        })
    }

    fn reason_against(&self, key: &str, package: &Package, used: bool) -> Option<String> {
        let path_is_clean = package
            .path
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."));
        if !key
            .split_once(':')
            .is_some_and(|(name, arch)| is_name(name) && is_name(arch))
        {
            Some("its key is not NAME:ARCHITECTURE".to_owned())
        } else if !used {
            Some("no set names it".to_owned())
        } else if let Err(error) = package.version.parse::<crate::version::Version>() {
            Some(error.to_string())
        } else if !is_sha256(&package.sha256) {
            Some(format!(
                "`{}` is not a SHA-256 in lower-case hexadecimal",
                package.sha256
            ))
        } else if !path_is_clean {
            Some(format!(
                "the path `{}` is not relative to a mirror",
                package.path
            ))
        } else if !self
            .suites
            .iter()
            .any(|suite| suite.archive == package.archive)
        {
            Some(format!(
                "no suite of this lock has the archive `{}`",
                package.archive
            ))
        } else {
            None
        }
    }
}

/// Whether a text is an address that apt and Nix read as one word. apt has other methods, which run
/// programs or read files of the machine.
fn is_address(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    }) && text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"'`\\<>^{|}".contains(&b))
}

fn is_timestamp(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    text.is_ascii()
        && text.len() == 16
        && digits(&text[..8])
        && &text[8..9] == "T"
        && digits(&text[9..15])
        && text.ends_with('Z')
}
