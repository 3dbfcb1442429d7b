//! Relations between packages: `a (>= 1) | b:any, c`.
//!
//! Grammar: <https://www.debian.org/doc/debian-policy/ch-relationships.html>.

use std::cmp::Ordering;
use std::fmt;

use crate::version::Version;

/// The comparison between a package's version and the relation's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    /// Whether `found OPERATOR wanted` holds.
    pub fn holds(self, found: &Version, wanted: &Version) -> bool {
        let order = found.cmp(wanted);
        match self {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        }
    }
}

/// The qualifier in `name:qualifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// `:any`: a package of any architecture that has `Multi-Arch: allowed`.
    Any,
    /// `:amd64` and so on: exactly that architecture.
    Architecture(String),
}

/// One alternative: a name, with an optional architecture and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Name of a package, or a name that packages provide.
    pub name: String,
    /// The architecture, if the relation names one.
    pub qualifier: Option<Qualifier>,
    /// The accepted versions. `None` accepts all.
    pub version: Option<(Operator, Version)>,
    /// The archive that the package must come from. Only a package that a set names has one.
    pub source: Option<String>,
}

/// Alternatives. One of them is enough.
pub type Alternatives = Vec<Relation>;

/// The error for a relation field that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a relation to a package: {reason}")]
pub struct RelationError {
    text: String,
    reason: String,
}

impl Relation {
    /// Whether a package of this name fits if it has the version `found`.
    pub fn accepts(&self, found: &Version) -> bool {
        match &self.version {
            Some((operator, wanted)) => operator.holds(found, wanted),
            None => true,
        }
    }

    /// Reads one relation, without commas and bars.
    pub fn parse(text: &str) -> Result<Self, RelationError> {
        let text = text.trim();
        let error = |reason: &str| RelationError {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        if text.contains(['[', '<'])
            && text
                .split(['[', '<'])
                .next()
                .is_some_and(|t| !t.contains('('))
        {
            return Err(error(
                "architecture and profile restrictions belong to source packages",
            ));
        }
        let (head, version) = match text.split_once('(') {
            Some((head, rest)) => {
                let inner = rest
                    .strip_suffix(')')
                    .ok_or_else(|| error("the parenthesis is not closed"))?;
                (
                    head.trim(),
                    Some(parse_version(inner).map_err(|r| error(&r))?),
                )
            }
            None => (text, None),
        };
        let (name, qualifier) = match head.split_once(':') {
            Some((name, "any")) => (name, Some(Qualifier::Any)),
            Some((name, arch)) if is_name(arch) => {
                (name, Some(Qualifier::Architecture(arch.to_owned())))
            }
            Some(_) => return Err(error("the text after the colon is not an architecture")),
            None => (head, None),
        };
        if !is_name(name) {
            return Err(error(
                "the name has a character outside a-z A-Z 0-9 + - . _",
            ));
        }
        Ok(Relation {
            name: name.to_owned(),
            qualifier,
            version,
            source: None,
        })
    }

    /// Reads a package that a set names: a relation that may also name an archive, `nginx@vendor`,
    /// `nginx:arm64@vendor (>= 1.26)`.
    pub(crate) fn parse_root(text: &str) -> Result<Self, RelationError> {
        let head = text.split('(').next().unwrap_or_default();
        let Some((name, source)) = head.split_once('@') else {
            return Relation::parse(text);
        };
        let source = source.trim();
        if !is_name(source) {
            return Err(RelationError {
                text: text.to_owned(),
                reason: "the text after `@` is not the name of a source".to_owned(),
            });
        }
        let relation = Relation::parse(&format!("{name}{}", &text[head.len()..]))?;
        Ok(Relation {
            source: Some(source.to_owned()),
            ..relation
        })
    }
}

fn parse_version(text: &str) -> Result<(Operator, Version), String> {
    let text = text.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphanumeric() || c.is_whitespace())
        .unwrap_or(text.len());
    let operator = match &text[..split] {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" | "" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        other => return Err(format!("`{other}` is none of << <= = >= >>")),
    };
    let version = text[split..]
        .trim()
        .parse::<Version>()
        .map_err(|e| e.to_string())?;
    Ok((operator, version))
}

/// Whether a text can be a name of Debian's: of a package, an architecture, a suite.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
}

/// Reads a `Depends` field or a similar one. The result is a list of groups. One alternative of
/// each group must be met.
///
/// ```
/// use crateyard_debian::relation::parse_groups;
///
/// let groups = parse_groups("libc6 (>= 2.34), debconf | debconf-2.0")?;
/// assert_eq!(groups.len(), 2);
/// assert_eq!(groups[1][0].name, "debconf");
/// # Ok::<(), crateyard_debian::relation::RelationError>(())
/// ```
pub fn parse_groups(field: &str) -> Result<Vec<Alternatives>, RelationError> {
    field
        .split(',')
        .map(str::trim)
        .filter(|group| !group.is_empty())
        .map(|group| group.split('|').map(Relation::parse).collect())
        .collect()
}

/// Reads a `Conflicts`, `Breaks` or `Provides` field: relations without alternatives.
pub fn parse_list(field: &str) -> Result<Vec<Relation>, RelationError> {
    field
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(Relation::parse)
        .collect()
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.qualifier {
            Some(Qualifier::Any) => f.write_str(":any")?,
            Some(Qualifier::Architecture(arch)) => write!(f, ":{arch}")?,
            None => {}
        }
        if let Some(source) = &self.source {
            write!(f, "@{source}")?;
        }
        match &self.version {
            Some((operator, version)) => write!(f, " ({} {version})", operator.as_str()),
            None => Ok(()),
        }
    }
}

/// Formats alternatives as in a field: `a | b`.
pub(crate) fn display_alternatives(alternatives: &[Relation]) -> String {
    let texts: Vec<String> = alternatives.iter().map(Relation::to_string).collect();
    texts.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_packages_write() {
        let field =
            "libc6 (>= 2.34), debconf (>= 0.5) | debconf-2.0,perl:any, gcc-12:arm64 (=12.2.0-14),";
        let groups = parse_groups(field).expect(field);
        let texts: Vec<_> = groups.iter().map(|g| display_alternatives(g)).collect();
        assert_eq!(
            texts,
            [
                "libc6 (>= 2.34)",
                "debconf (>= 0.5) | debconf-2.0",
                "perl:any",
                "gcc-12:arm64 (= 12.2.0-14)"
            ]
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("a (>= 1", "the parenthesis is not closed"),
            ("a (!= 1)", "`!=` is none of << <= = >= >>"),
            ("a (=> 1)", "`=>` is none of"),
            ("a b", "the name has a character outside"),
            ("a:b/c", "the text after the colon"),
            ("a [amd64]", "belong to source packages"),
            ("| b", "the name has a character outside"),
        ] {
            let error = parse_groups(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
