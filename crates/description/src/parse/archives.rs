//! `[debian.sources.NAME]`: archives that are not Debian's. Every value becomes a word of apt's
//! sources and a part of addresses, so each has a form without spaces, quotes and line breaks.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::{accept, checked, report_repeated};
use crate::model::AptSource;
use crate::reader::{Fields, Reader};
use crate::{schema, value};

/// Debian's own archives, as locks and `--mirror` name them.
const DEBIANS: [&str; 2] = ["debian", "debian-security"];

/// Reads all archives.
pub(super) fn read(fields: &Fields) -> BTreeMap<String, AptSource> {
    super::named(fields, "sources", "debian.sources", read_one)
        .into_iter()
        .collect()
}

fn read_one(
    reader: &Reader,
    name: Spanned<String>,
    value: &Spanned<DeValue>,
    place: &str,
) -> Option<(String, AptSource)> {
    accept(reader, &name, source_name(name.get_ref()));
    let fields = reader.table(value, &schema::DEBIAN_SOURCE, place)?;
    let url = fields.required("url", fields.string("url"), "\"https://…\"");
    let url = url.and_then(|text| accept(reader, &text, address(text.get_ref())));
    let suite = fields.required("suite", fields.string("suite"), "\"stable\"");
    let suite = suite.filter(|text| accept(reader, text, suite_of(text.get_ref())).is_some());
    let key = fields.string("key");
    let key = key.and_then(|text| accept(reader, &text, value::workspace_path(text.get_ref())));
    let fingerprint = fields.string("fingerprint");
    let fingerprint =
        fingerprint.and_then(|text| accept(reader, &text, whole_fingerprint(text.get_ref())));
    if fields.value("key").is_none() && fields.value("fingerprint").is_none() {
        let problem = reader.problem(
            fields.span(),
            format!("{place} does not say which key signs it"),
        );
        reader.report(problem.help(
            "add `key = \"FILE\"` with a file of the workspace, as the vendor publishes it, or \
             `fingerprint = \"…\"` of a key in a keyring of apt's",
        ));
    }
    let suite = suite?;
    let components = components(&fields, &suite)?;
    let source = AptSource {
        url: url?,
        suite: suite.into_inner(),
        components,
        key,
        fingerprint,
        architectures: checked(&fields, "architectures", value::debian_architecture),
    };
    Some((name.into_inner(), source))
}

/// Reads the components of a suite; a directory has none.
fn components(fields: &Fields, suite: &Spanned<String>) -> Option<Vec<String>> {
    let is_directory = suite.get_ref().ends_with('/');
    let Some(given) = fields.strings("components") else {
        return Some(match is_directory {
            true => Vec::new(),
            false => vec!["main".to_owned()],
        });
    };
    for text in &given {
        accept(fields.reader, text, component(text.get_ref()));
    }
    report_repeated(fields, "components", &given);
    let wrong = match (is_directory, given.is_empty()) {
        (true, false) => "is a directory, because it ends in `/`, and directories have none",
        (false, true) => "has at least one",
        _ => return Some(super::plain(given)),
    };
    let problem = fields.reader.problem(
        suite.span(),
        format!("`components` do not fit: `{}` {wrong}", suite.get_ref()),
    );
    fields
        .reader
        .report(problem.help("drop `components`, or name those of the suite"));
    None
}

fn is_word(text: &str, also: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// Checks the name of an archive, which `NAME@SOURCE`, the lock and `--mirror` use.
fn source_name(text: &str) -> Result<(), String> {
    if DEBIANS.contains(&text) {
        return Err("is the name of one of Debian's own archives".to_owned());
    }
    value::source_name(text)
}

/// Reads an address, and returns it without `/` at its end.
fn address(text: &str) -> Result<String, String> {
    let rest = value::after_scheme(text)?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Err(
            "holds a user name or password, which would be written into debian.lock; apt reads \
             them from /etc/apt/auth.conf"
                .to_owned(),
        );
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~:/%+@,=[]".contains(c);
    if host.is_empty() || !rest.chars().all(fits) {
        return Err(
            "is not the address of an archive: a host, and a path of letters, digits and \
             `-._~:/%+@,=`"
                .to_owned(),
        );
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Checks a suite (`bookworm` or `bookworm/tool/7.0`) or a directory (`/`, `./`, `stable/`).
fn suite_of(text: &str) -> Result<(), String> {
    let parts = |text: &str| text.split('/').all(|part| is_word(part, "-_.+~"));
    let fits = match text.strip_suffix('/') {
        Some("" | ".") => true,
        Some(directory) => parts(directory.strip_prefix("./").unwrap_or(directory)),
        None => parts(text),
    };
    match fits {
        true => Ok(()),
        false => Err(
            "is not the name of a suite; write it as \"bookworm\", or as \"./\" where all packages \
             are in one directory"
                .to_owned(),
        ),
    }
}

fn component(text: &str) -> Result<(), String> {
    match text.split('/').all(|part| is_word(part, "-_.+")) {
        true => Ok(()),
        false => Err("is not the name of a component; write it as \"main\"".to_owned()),
    }
}

/// Reads a whole fingerprint, and returns it without spaces and in upper case. A short key number
/// is not enough: anybody can make a key that has the same one.
fn whole_fingerprint(text: &str) -> Result<String, String> {
    let digits: String = text.chars().filter(|c| *c != ' ').collect();
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    match digits.len() {
        40 | 64 if is_hex => Ok(digits.to_ascii_uppercase()),
        _ => Err(
            "is not a whole fingerprint, which has 40 or 64 hexadecimal digits; see: gpg \
             --show-keys FILE"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::Description;

    fn read(fields: &str) -> Result<Description, String> {
        let text = format!("version = 1\n[debian.sources.vendor]\n{fields}\n[images]\n");
        Description::parse(&text, "images.toml").map_err(|problems| problems.to_string())
    }

    #[test]
    fn sources_are_read() {
        let described = read(
            "url = \"https://apt.example/a/\"\nsuite = \"stable\"\nkey = \"./keys/vendor.asc\"\n\
             fingerprint = \"abcd abcd abcd abcd abcd  abcd abcd abcd abcd abcd\"",
        )
        .expect("a description");
        let source = &described.debian.sources["vendor"];
        assert_eq!(source.url, "https://apt.example/a");
        assert_eq!(source.components, ["main"]);
        assert_eq!(source.key.as_deref(), Some("keys/vendor.asc"));
        assert_eq!(source.fingerprint, Some("ABCD".repeat(10)));
        for suite in ["/", "./", "stable/", "./a/b/"] {
            let text = format!("url = \"http://h\"\nsuite = \"{suite}\"\nkey = \"k\"");
            let described = read(&text).expect(suite);
            assert!(described.debian.sources["vendor"].components.is_empty());
        }
    }

    #[test]
    fn no_value_leaves_its_word() {
        let good = [
            ("url", "\"https://h\""),
            ("suite", "\"stable\""),
            ("components", "[\"main\"]"),
            ("key", "\"k\""),
        ];
        for (name, value, expected) in [
            ("url", r#""https://h\nTrusted: yes""#, "is not the address"),
            ("url", r#""https://h [trusted=yes]""#, "is not the address"),
            ("url", r#""https://me:secret@h/a""#, "/etc/apt/auth.conf"),
            ("url", r#""file:///etc""#, "begins with `https://`"),
            ("url", r#""copy:/etc""#, "begins with `https://`"),
            ("suite", r#""stable\nTrusted: yes""#, "name of a suite"),
            ("suite", r#""../x/""#, "name of a suite"),
            ("suite", r#""a b""#, "name of a suite"),
            ("suite", r#""stable/""#, "directories have none"),
            ("components", r#"["main\nTrusted: yes"]"#, "of a component"),
            ("components", r#"["main contrib"]"#, "of a component"),
            ("components", "[]", "has at least one"),
            ("key", r#""/etc/shadow""#, "is absolute"),
            ("key", r#""../k""#, "leaves the workspace"),
            ("fingerprint", r#""DEADBEEF""#, "whole fingerprint"),
            (
                "architectures",
                r#"["amd64\nTrusted: yes"]"#,
                "architecture",
            ),
        ] {
            let others = good.iter().filter(|(other, _)| *other != name);
            let mut fields: Vec<String> = others.map(|(n, v)| format!("{n} = {v}")).collect();
            fields.push(format!("{name} = {value}"));
            let error = read(&fields.join("\n")).expect_err(value);
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    #[test]
    fn a_source_says_who_signs_it() {
        let error = read("url = \"https://h\"\nsuite = \"s\"").expect_err("no key");
        assert!(error.contains("does not say which key signs it"), "{error}");
        let text = "version = 1\n[debian.sources.debian]\nurl = \"https://h\"\nsuite = \"s\"\n\
                    key = \"k\"\n[images]\n";
        let error = Description::parse(text, "images.toml").expect_err("Debian's name");
        assert!(error.to_string().contains("Debian's own"), "{error}");
    }
}
