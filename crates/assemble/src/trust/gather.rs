//! What somebody known has signed about an image in a registry.

use anyhow::Result;
use crateyard_oci::Digest;
use serde_json::Value;
use signing::{BUNDLE_TYPE, Bundle, Identity, PublicKey, TrustedRoot};

use super::policy::{Policy, Rule};
use super::tag;
use crate::remote::Remote;

/// Who has signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Author {
    /// The holder of a key.
    Key { name: String, key: PublicKey },
    /// An identity.
    Identity(Identity),
}

impl Author {
    /// Whether a rule is about this author.
    pub fn is_meant_by(&self, rule: &Rule) -> bool {
        match (self, rule) {
            (Author::Key { key, .. }, Rule::Key { key: own, .. }) => key == own,
            (Author::Identity(identity), rule) => rule.accepts(identity),
            _ => false,
        }
    }

    /// What tells it from others: two runs of a workflow are one witness.
    pub fn name(&self) -> String {
        match self {
            Author::Key { name, .. } => format!("the key {name}"),
            Author::Identity(identity) => format!("{} by {}", identity.subject, identity.issuer),
        }
    }

    /// Whether both are the same party.
    pub fn is_same(&self, other: &Author) -> bool {
        match (self, other) {
            (Author::Key { key, .. }, Author::Key { key: own, .. }) => key == own,
            _ => self.name() == other.name(),
        }
    }
}

/// A statement that somebody known has signed.
#[derive(Debug)]
pub struct Found {
    pub subject: Digest,
    pub author: Author,
    pub statement: Value,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Gathered {
    pub found: Vec<Found>,
    /// Referrers that call themselves signatures and can't be used, each with the reason. Anybody
    /// who may write to the repository can add such; they neither help nor harm.
    pub unusable: Vec<String>,
}

/// Gathers what the policy's signers and witnesses have signed about an image. Other referrers of
/// the image, however many and whatever they are, are passed over.
///
/// # Errors
/// When the registry refuses to list referrers, or can't be reached and not all has been found that
/// `is_enough` wants.
pub fn gather(
    remote: &Remote,
    subject: &Digest,
    policy: &Policy,
    gathered: &mut Gathered,
    is_enough: impl Fn(&Gathered) -> bool,
) -> Result<()> {
    for signature in tag::read(remote, subject)? {
        let verified = signature.and_then(|signature| {
            let digest = subject.as_str();
            let key = |key: &PublicKey| signature.verify(key, digest).map(|()| None);
            let identity = |root: &TrustedRoot| {
                let verified = signature.verify_identity(root, digest);
                verified.map(|identity| (None, identity))
            };
            author(policy, key, signature.has_certificate().then_some(identity))
        });
        let statement = || signing::image_statement(subject.as_str());
        gathered.add(subject, "a signature under the tag", verified, statement);
    }
    if is_enough(gathered) {
        return Ok(());
    }
    remote.search_documents(subject, BUNDLE_TYPE, |name, document| {
        let bundle = document.and_then(|bytes| Bundle::parse(&bytes).map_err(|it| it.to_string()));
        let verified = bundle.and_then(|bundle| {
            let digest = subject.as_str();
            let key = |key: &PublicKey| bundle.verify(key, digest).map(Some);
            let identity = |root: &TrustedRoot| {
                let verified = bundle.verify_identity(root, digest);
                verified.map(|(statement, identity)| (Some(statement), identity))
            };
            author(policy, key, bundle.has_certificate().then_some(identity))
        });
        gathered.add(subject, name, verified, Value::default);
        is_enough(gathered)
    })?;
    Ok(())
}

type Verified<T> = Result<T, signing::Error>;
/// A statement, where the signature has one, and who has signed it.
type Signed = Option<(Option<Value>, Author)>;

/// Who of the policy's signers has signed; `None` where it is somebody else.
fn author(
    policy: &Policy,
    by_key: impl Fn(&PublicKey) -> Verified<Option<Value>>,
    by_identity: Option<impl Fn(&TrustedRoot) -> Verified<(Option<Value>, Identity)>>,
) -> Result<Signed, String> {
    for rule in policy.rules() {
        let Rule::Key { name, key } = rule else {
            continue;
        };
        if let Ok(statement) = by_key(key) {
            let (name, key) = (name.clone(), key.clone());
            return Ok(Some((statement, Author::Key { name, key })));
        }
    }
    let (Some(by_identity), Some(root)) = (by_identity, &policy.root) else {
        return Ok(None);
    };
    let (statement, identity) = by_identity(root).map_err(|error| error.to_string())?;
    Ok(Some((statement, Author::Identity(identity))))
}

impl Gathered {
    fn add(
        &mut self,
        subject: &Digest,
        name: &str,
        verified: Result<Signed, String>,
        default: impl Fn() -> Value,
    ) {
        match verified {
            Ok(Some((statement, author))) => self.found.push(Found {
                subject: subject.clone(),
                author,
                statement: statement.unwrap_or_else(default),
            }),
            Ok(None) => {}
            Err(reason) => {
                let reason = reason.lines().next().unwrap_or_default();
                self.unusable.push(format!("{name}: {reason}"));
            }
        }
    }
}
