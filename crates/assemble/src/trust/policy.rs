//! A policy for images: a TOML file, or the options of `assemble verify`.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use crateyard_signing::{Identity, PublicKey, TrustedRoot};
use regex::Regex;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use toml::Spanned;

/// The supported version of the file's format.
const VERSION: i64 = 1;

/// The requirements.
#[derive(Debug, Default)]
pub struct Policy {
    /// The permitted signers of the image and its provenance. One of them must have signed.
    pub signers: Vec<Rule>,
    /// The requirements on the signed provenance.
    pub provenance: Provenance,
    /// The permitted witnesses.
    pub witnesses: Vec<Rule>,
    /// The number of witnesses who must have built the same image.
    pub count: usize,
    /// The authorities and logs to trust for identities.
    pub root: Option<TrustedRoot>,
}

/// The requirements on a provenance.
#[derive(Debug, Default)]
pub struct Provenance {
    /// The builder's identity.
    pub builder: Option<Pattern>,
    /// The repository of the workflow.
    pub repository: Option<Pattern>,
    /// The branch or tag of the workflow.
    pub reference: Option<Pattern>,
}

impl Provenance {
    /// Whether there are no requirements.
    pub fn is_empty(&self) -> bool {
        let all = [&self.builder, &self.repository, &self.reference];
        all.into_iter().all(Option::is_none)
    }
}

/// A permitted signer.
#[derive(Debug, Clone)]
pub enum Rule {
    /// The holder of a key. `name` distinguishes it from others.
    Key { name: String, key: PublicKey },
    /// An identity that an issuer vouches for.
    Identity { identity: Pattern, issuer: Pattern },
}

impl Rule {
    /// Reads a public key.
    ///
    /// # Errors
    /// When the key can't be read.
    pub fn key(path: &Path) -> Result<Rule> {
        let name = path.display().to_string();
        let pem = std::fs::read_to_string(path);
        let pem = pem.with_context(|| format!("cannot read the key {name}"))?;
        let key = PublicKey::from_pem(&pem).with_context(|| name.clone())?;
        Ok(Rule::Key { name, key })
    }

    /// Whether the rule is about this identity.
    pub fn accepts(&self, own: &Identity) -> bool {
        match self {
            Rule::Key { .. } => false,
            Rule::Identity { identity, issuer } => {
                identity.matches(&own.subject) && issuer.matches(&own.issuer)
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Key { name, .. } => write!(f, "the key {name}"),
            Rule::Identity { identity, issuer } => write!(f, "{identity} by {issuer}"),
        }
    }
}

/// A required text, or an expression that must match the whole text.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// Exactly this text.
    Exact(String),
    /// A text that the expression matches completely.
    Regexp(Regex),
}

impl Pattern {
    /// Makes an expression that must match a whole text.
    ///
    /// # Errors
    /// When the text is not a regular expression.
    pub fn regexp(text: &str) -> Result<Pattern> {
        // The text is parsed alone first, so that none of its brackets can close the group.
        Regex::new(text)?;
        Ok(Pattern::Regexp(Regex::new(&format!("^(?:{text})$"))?))
    }

    /// Whether a text satisfies the pattern.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(own) => own == text,
            Pattern::Regexp(own) => own.is_match(text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(own) => write!(f, "{own}"),
            Pattern::Regexp(own) => write!(f, "{}", own.as_str()),
        }
    }
}

/// Reads a trusted root.
///
/// # Errors
/// When the file can't be read.
pub fn trusted_root(path: &Path) -> Result<TrustedRoot> {
    let bytes = std::fs::read(path);
    let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
    TrustedRoot::parse(&bytes).with_context(|| path.display().to_string())
}

impl Policy {
    /// Reads a policy. Paths in it are relative to the policy's file.
    ///
    /// # Errors
    /// When the file can't be read or is wrong. The error names the line.
    pub fn read(path: &Path) -> Result<Policy> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read the policy {}", path.display()))?;
        let source = Source { path, text: &text };
        let file: File = toml::from_str(&text).map_err(|error| {
            source.error(
                error.span().unwrap_or(0..0),
                &anyhow!("{}", error.message()),
            )
        })?;
        file.policy(&source)
    }

    /// Returns all rules about signers: signers of the image, and witnesses.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.signers.iter().chain(&self.witnesses)
    }

    /// Whether the policy has any requirement.
    pub fn is_empty(&self) -> bool {
        self.signers.is_empty() && self.provenance.is_empty() && self.count == 0
    }
}

/// The file's name for messages.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn error(&self, span: Range<usize>, reason: &anyhow::Error) -> anyhow::Error {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        anyhow!("{}:{line}: {reason:#}", self.path.display())
    }

    /// Reads a file that the policy names. Errors name the line of the policy.
    fn file<T>(&self, name: &Spanned<PathBuf>, read: fn(&Path) -> Result<T>) -> Result<T> {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let read = read(&directory.join(name.get_ref()));
        read.map_err(|error| self.error(name.span(), &error))
    }

    fn pattern(&self, raw: &Spanned<RawPattern>) -> Result<Pattern> {
        match raw.get_ref() {
            RawPattern::Exact(text) => Ok(Pattern::Exact(text.clone())),
            RawPattern::Regexp(text) => {
                let pattern = Pattern::regexp(text);
                pattern.map_err(|error| self.error(raw.span(), &error))
            }
        }
    }

    fn optional(&self, raw: Option<&Spanned<RawPattern>>) -> Result<Option<Pattern>> {
        raw.map(|raw| self.pattern(raw)).transpose()
    }

    fn rules(&self, raw: &[Spanned<RawRule>]) -> Result<Vec<Rule>> {
        raw.iter().map(|raw| self.rule(raw)).collect()
    }

    fn rule(&self, raw: &Spanned<RawRule>) -> Result<Rule> {
        match raw.get_ref() {
            RawRule {
                key: Some(key),
                identity: None,
                issuer: None,
            } => self.file(key, Rule::key),
            RawRule {
                key: None,
                identity: Some(identity),
                issuer: Some(issuer),
            } => Ok(Rule::Identity {
                identity: self.pattern(identity)?,
                issuer: self.pattern(issuer)?,
            }),
            _ => {
                let reason = anyhow!("must have either `key`, or `identity` and `issuer`");
                Err(self.error(raw.span(), &reason))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    version: Spanned<i64>,
    trusted_root: Option<Spanned<PathBuf>>,
    #[serde(default)]
    signers: Vec<Spanned<RawRule>>,
    #[serde(default)]
    provenance: Option<Spanned<RawProvenance>>,
    #[serde(default)]
    witnesses: Option<Spanned<RawWitnesses>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    key: Option<Spanned<PathBuf>>,
    identity: Option<Spanned<RawPattern>>,
    issuer: Option<Spanned<RawPattern>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProvenance {
    builder: Option<Spanned<RawPattern>>,
    repository: Option<Spanned<RawPattern>>,
    #[serde(rename = "ref")]
    reference: Option<Spanned<RawPattern>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWitnesses {
    count: usize,
    from: Vec<Spanned<RawRule>>,
}

/// A pattern as written: `"TEXT"` or `{ regexp = "TEXT" }`.
enum RawPattern {
    Exact(String),
    Regexp(String),
}

impl<'de> Deserialize<'de> for RawPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            regexp: String,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawPattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or { regexp = \"…\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawPattern, E> {
                Ok(RawPattern::Exact(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawPattern, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawPattern::Regexp(table.regexp))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl File {
    fn policy(self, source: &Source<'_>) -> Result<Policy> {
        if *self.version.get_ref() != VERSION {
            let reason = anyhow!(
                "version {} is unknown; this is {VERSION}",
                self.version.get_ref()
            );
            return Err(source.error(self.version.span(), &reason));
        }
        let root = self.trusted_root.as_ref();
        let mut policy = Policy {
            signers: source.rules(&self.signers)?,
            root: root.map(|it| source.file(it, trusted_root)).transpose()?,
            ..Policy::default()
        };
        if let Some(raw) = &self.provenance {
            let fields = raw.get_ref();
            policy.provenance = Provenance {
                builder: source.optional(fields.builder.as_ref())?,
                repository: source.optional(fields.repository.as_ref())?,
                reference: source.optional(fields.reference.as_ref())?,
            };
            if policy.signers.is_empty() {
                let reason = anyhow!("a provenance needs `signers`: anybody can write one");
                return Err(source.error(raw.span(), &reason));
            }
        }
        if let Some(raw) = &self.witnesses {
            policy.witnesses = source.rules(&raw.get_ref().from)?;
            policy.count = raw.get_ref().count;
            let needed = policy.witness_keys_needed();
            needed.map_err(|error| source.error(raw.span(), &error))?;
        }
        let needs_root = |rule: &Rule| matches!(rule, Rule::Identity { .. });
        if policy.root.is_none() && policy.rules().any(needs_root) {
            bail!(
                "{}: an `identity` needs `trusted-root`, which says whose certificates to believe",
                source.path.display()
            );
        }
        if policy.is_empty() {
            bail!("{}: it asks for nothing", source.path.display());
        }
        Ok(policy)
    }
}

impl Policy {
    /// Checks that enough witnesses can exist.
    ///
    /// # Errors
    /// When the policy has fewer witness keys than required witnesses, and no identities.
    pub fn witness_keys_needed(&self) -> Result<()> {
        let is_key = |rule: &&Rule| matches!(rule, Rule::Key { .. });
        let keys = self.witnesses.iter().filter(is_key).count();
        if keys == self.witnesses.len() && keys < self.count {
            bail!(
                "{} witnesses are asked for and {keys} are known",
                self.count
            );
        }
        Ok(())
    }
}
