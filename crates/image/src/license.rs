//! Licences as [SPDX expressions](https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/),
//! from the declarations of crates and Debian packages.

use std::collections::BTreeMap;

use crateyard_debian::control::stanzas;
use crateyard_oci::Digest;
use serde::{Deserialize, Serialize};

/// The most bytes of a licence's text that are kept.
const MAX_TEXT: usize = 256 << 10;

/// A licence that a package declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct License {
    /// An SPDX expression.
    pub expression: String,
    /// The texts of the licences in it that have no SPDX name (`LicenseRef-…`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, String>,
}

impl License {
    /// Returns the licence of the crate `package`: the expression of its manifest, else the text of
    /// the file that the manifest names. Returns `None` if it has neither.
    pub fn of_crate(package: &str, expression: &str, file: Option<&str>) -> Option<License> {
        if expression.is_empty() {
            return file.map(|text| License::by_text(&format!("{package}-file"), text));
        }
        Some(match canonical(expression) {
            Some(expression) => License {
                expression,
                texts: BTreeMap::new(),
            },
            None => License::by_text(package, expression),
        })
    }

    /// Returns the licence of a Debian package, from its copyright file: the licences of all files
    /// together in the [machine-readable
    /// form](https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/), else the whole
    /// text.
    pub fn of_debian(package: &str, copyright: &str) -> License {
        Machine::read(package, copyright)
            .filter(|machine| !machine.names.is_empty())
            .map_or_else(|| License::by_text(package, copyright), Machine::license)
    }

    /// Renames each text whose name stands for a different one in `known`, so that both remain. The
    /// new name has the digest of the text.
    pub(crate) fn apart_from(self, known: &BTreeMap<String, String>) -> License {
        let is_other = |(name, text): (&String, &String)| {
            let digest = Digest::of(text.as_bytes());
            let renamed = format!("{name}-{}", &digest.hex()[..8]);
            let differs = known.get(name).is_some_and(|it| it != text);
            differs.then(|| (name.clone(), renamed))
        };
        let renamed: BTreeMap<String, String> = self.texts.iter().filter_map(is_other).collect();
        if renamed.is_empty() {
            return self;
        }
        let current = |name: &str| renamed.get(name).map_or(name, |it| it).to_owned();
        let texts = self.texts.iter();
        License {
            texts: texts
                .map(|(name, text)| (current(name), text.clone()))
                .collect(),
            expression: words(&self.expression).map(current).collect(),
        }
    }

    /// Makes a licence that only has a text.
    fn by_text(name: &str, text: &str) -> License {
        let name = reference(name);
        License {
            expression: name.clone(),
            texts: BTreeMap::from([(name, cut(text))]),
        }
    }
}

/// Converts an expression from the notations of manifests to SPDX's. Returns `None` if a name in it
/// is unknown.
fn canonical(expression: &str) -> Option<String> {
    let canonical = spdx::Expression::canonicalize(expression).ok()?;
    let text = canonical.unwrap_or_else(|| expression.to_owned());
    spdx::Expression::parse(&text).ok()?;
    Some(text)
}

/// Makes a name for a licence that has no SPDX name.
fn reference(name: &str) -> String {
    let allowed = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '.' => c,
        _ => '-',
    };
    format!(
        "LicenseRef-{}",
        name.chars().map(allowed).collect::<String>()
    )
}

fn cut(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].trim().to_owned()
}

/// A machine-readable copyright file.
struct Machine<'a> {
    package: &'a str,
    /// The values of `License:` in the stanzas with files, each once.
    names: Vec<&'a str>,
    /// The texts, by those names.
    texts: BTreeMap<String, String>,
}

impl<'a> Machine<'a> {
    fn read(package: &'a str, copyright: &'a str) -> Option<Machine<'a>> {
        let mut stanzas = stanzas(copyright);
        let format = stanzas.next()?.get("Format")?;
        if !format.contains("copyright-format") && !format.contains("dep5") {
            return None;
        }
        let mut machine = Machine {
            package,
            names: Vec::new(),
            texts: BTreeMap::new(),
        };
        for stanza in stanzas {
            let Some(license) = stanza.get("License") else {
                continue;
            };
            let (name, text) = license.split_once('\n').unwrap_or((license, ""));
            let name = name.trim();
            if stanza.get("Files").is_some() && !name.is_empty() && !machine.names.contains(&name) {
                machine.names.push(name);
            }
            if !text.trim().is_empty() {
                machine
                    .texts
                    .entry(name.to_lowercase())
                    .or_insert_with(|| cut(text));
            }
        }
        Some(machine)
    }

    fn license(self) -> License {
        let mut texts = BTreeMap::new();
        let mut parts: Vec<String> = Vec::new();
        for name in &self.names {
            let part = self.expression(name, &mut texts);
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        if let [one] = &parts[..] {
            let expression = one.clone();
            return License { expression, texts };
        }
        let parts = parts.iter().map(|part| match is_choice(part) {
            true => format!("({part})"),
            false => part.clone(),
        });
        License {
            expression: parts.collect::<Vec<_>>().join(" AND "),
            texts,
        }
    }

    /// Converts `A or B and C` and `A or B, and C`: a comma binds less than a word.
    fn expression(&self, text: &str, texts: &mut BTreeMap<String, String>) -> String {
        for (separator, word) in [
            (", or ", " OR "),
            (", and ", " AND "),
            (" or ", " OR "),
            (" and ", " AND "),
        ] {
            let parts = split(text, separator);
            if parts.len() < 2 {
                continue;
            }
            let inner =
                |part: &&str| match self.expression(part.trim().trim_end_matches(','), texts) {
                    part if part.contains(' ') && !part.contains(word) => format!("({part})"),
                    part => part,
                };
            let mut parts: Vec<String> = parts.iter().map(inner).collect();
            let mut seen = std::collections::BTreeSet::new();
            parts.retain(|part| seen.insert(part.clone()));
            return parts.join(word);
        }
        self.name(text.trim(), texts)
    }

    /// Converts one licence by its short name, of which Debian has its own.
    fn name(&self, name: &str, texts: &mut BTreeMap<String, String>) -> String {
        if let Some(known) = known(name) {
            return known;
        }
        let reference = reference(&format!("{}-{name}", self.package));
        let text = self.texts.get(&name.to_lowercase());
        let text = text.cloned().unwrap_or_else(|| name.to_owned());
        texts.insert(reference.clone(), text);
        reference
    }
}

/// Splits an expression into its names, and the spaces and parentheses between them.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    let is_between = |c: char| c == ' ' || c == '(' || c == ')';
    expression
        .split_inclusive(is_between)
        .flat_map(move |part| match part.strip_suffix(is_between) {
            Some(word) => [word, &part[word.len()..]],
            None => [part, ""],
        })
}

/// Whether an expression is a choice without parentheses around it.
fn is_choice(expression: &str) -> bool {
    let mut depth = 0;
    expression
        .match_indices(['(', ')', ' '])
        .any(|(at, found)| {
            match found {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => return depth == 0 && expression[at..].starts_with(" OR "),
            }
            false
        })
}

fn split<'t>(text: &'t str, separator: &str) -> Vec<&'t str> {
    let lower = text.to_ascii_lowercase();
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(at) = lower[from..].find(separator) {
        parts.push(&text[from..from + at]);
        from += at + separator.len();
    }
    parts.push(&text[from..]);
    parts
}

/// Debian's short names of licences that have another SPDX name.
/// <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/#license-short-name>
const SHORT_NAMES: [(&str, &str); 12] = [
    ("expat", "MIT"),
    ("apache-2", "Apache-2.0"),
    ("artistic", "Artistic-1.0"),
    ("artistic-1", "Artistic-1.0"),
    ("artistic-2", "Artistic-2.0"),
    ("bsd-2-clauses", "BSD-2-Clause"),
    ("bsd-3-clauses", "BSD-3-Clause"),
    ("cc0", "CC0-1.0"),
    ("perl", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
    ("mpl-2", "MPL-2.0"),
    ("zlib/libpng", "Zlib"),
    ("unicode", "Unicode-DFS-2016"),
];

fn known(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    if let Some((_, known)) = SHORT_NAMES.iter().find(|(short, _)| *short == lower) {
        return Some((*known).to_owned());
    }
    if let Some(id) = gnu(&lower) {
        return Some(id);
    }
    let plain = lower.strip_suffix('+');
    let ids = spdx::identifiers::LICENSES.iter();
    let found = ids
        .map(|license| license.name)
        .find(|id| id.eq_ignore_ascii_case(plain.unwrap_or(&lower)))?;
    let text = if plain.is_some() {
        format!("{found}+")
    } else {
        found.to_owned()
    };
    canonical(&text)
}

/// Turns `GPL-2+` into `GPL-2.0-or-later`.
fn gnu(lower: &str) -> Option<String> {
    let (family, rest) = lower.split_once('-')?;
    if !["gpl", "lgpl", "agpl", "gfdl"].contains(&family) {
        return None;
    }
    let (version, suffix) = match rest.strip_suffix('+').or(rest.strip_suffix("-or-later")) {
        Some(version) => (version, "or-later"),
        None => (rest.strip_suffix("-only").unwrap_or(rest), "only"),
    };
    let version = match version.contains('.') {
        true => version.to_owned(),
        false => format!("{version}.0"),
    };
    let id = format!("{}-{version}-{suffix}", family.to_uppercase());
    spdx::license_id(&id).map(|id| id.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_says(expression: &str) -> String {
        License::of_crate("it", expression, None)
            .unwrap()
            .expression
    }

    #[test]
    fn manifests_write_expressions_in_several_ways() {
        assert_eq!(crate_says("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(crate_says("MIT OR Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(
            crate_says("Apache-2.0 WITH LLVM-exception"),
            "Apache-2.0 WITH LLVM-exception"
        );
        assert_eq!(crate_says("GPL-3.0+"), "GPL-3.0-or-later");
        assert_eq!(crate_says("Our own"), "LicenseRef-it");
        let file = License::of_crate("it", "", Some("Do what you like.\n")).unwrap();
        assert_eq!(file.texts["LicenseRef-it-file"], "Do what you like.");
        assert_eq!(License::of_crate("it", "", None), None);
    }

    #[test]
    fn two_texts_never_have_one_name() {
        let first = License::by_text("it", "One text.");
        let same = License::by_text("it", "One text.").apart_from(&first.texts);
        assert_eq!(same, first);
        let mut other = License::by_text("it", "Another.");
        other.expression = "(MIT OR LicenseRef-it) AND LicenseRef-it-more".to_owned();
        let other = other.apart_from(&first.texts);
        let (name, text) = other.texts.iter().next().unwrap();
        assert_eq!(text, "Another.");
        assert_ne!(name, "LicenseRef-it");
        assert_eq!(
            other.expression,
            format!("(MIT OR {name}) AND LicenseRef-it-more")
        );
        spdx::Expression::parse(&other.expression).unwrap();
    }

    #[test]
    fn debian_has_its_own_names() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
            Files: *\nCopyright: x\nLicense: GPL-2+ or Artistic, and Expat\n\n\
            Files: a\nCopyright: y\nLicense: BSD-3-clause\n Text.\n\n\
            Files: b\nCopyright: y\nLicense: GFDL-1.3+ and custom\n\n\
            License: custom\n Be kind.\n .\n Always.\n";
        let license = License::of_debian("demo", text);
        assert_eq!(
            license.expression,
            "(GPL-2.0-or-later OR Artistic-1.0) AND MIT AND BSD-3-Clause AND GFDL-1.3-or-later AND \
             LicenseRef-demo-custom"
        );
        assert!(license.texts["LicenseRef-demo-custom"].contains("Be kind"));
        spdx::Expression::parse(&license.expression).unwrap();
    }

    #[test]
    fn what_is_not_machine_readable_is_its_text() {
        let license = License::of_debian("libc6", "This is the Debian prepackaged version");
        assert_eq!(license.expression, "LicenseRef-libc6");
        assert!(license.texts["LicenseRef-libc6"].contains("prepackaged"));
    }
}
