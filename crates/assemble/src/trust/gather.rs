//! Collects the documents that a known party signed about an image in a registry.

use anyhow::Result;
use crateyard_oci::Digest;
use crateyard_signing::{BUNDLE_TYPE, Bundle, IMAGE_PREDICATE, Identity, PublicKey, TrustedRoot};
use serde_json::{Value, json};

use super::policy::{Policy, Rule};
use super::tag;
use crate::remote::{LeftOut, Remote};

/// The author of a signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Author {
    /// The holder of a key.
    Key { name: String, key: PublicKey },
    /// An identity.
    Identity(Identity),
}

impl Author {
    /// Whether a rule means this author.
    pub fn is_meant_by(&self, rule: &Rule) -> bool {
        match (self, rule) {
            (Author::Key { key, .. }, Rule::Key { key: own, .. }) => key == own,
            (Author::Identity(identity), rule) => rule.accepts(identity),
            _ => false,
        }
    }

    /// Returns the author's name, for people.
    pub fn name(&self) -> String {
        match self {
            Author::Key { name, .. } => format!("the key {name}"),
            Author::Identity(identity) => format!("{} by {}", identity.subject, identity.issuer),
        }
    }

    /// Whether both are the same party. A workflow is the same party on every branch and tag.
    pub fn is_same(&self, other: &Author) -> bool {
        match (self, other) {
            (Author::Key { key, .. }, Author::Key { key: own, .. }) => key == own,
            (Author::Identity(identity), Author::Identity(own)) => {
                identity.issuer == own.issuer && party(&identity.subject) == party(&own.subject)
            }
            _ => false,
        }
    }
}

/// Returns the part of a subject that does not depend on a branch or tag. The address of a workflow
/// has a branch or tag after an `@`. An e-mail address is not a web address, so it stays whole.
fn party(subject: &str) -> &str {
    match subject.split_once('@') {
        Some((workflow, _)) if workflow.starts_with("https://") => workflow,
        _ => subject,
    }
}

/// A statement that a known party has signed.
#[derive(Debug)]
pub struct Found {
    pub subject: Digest,
    pub author: Author,
    pub statement: Value,
}

/// The collected statements.
#[derive(Debug, Default)]
pub struct Gathered {
    pub found: Vec<Found>,
    /// Referrers that look like signatures but are unusable, each with the reason. Anybody who may
    /// write to the repository can add such referrers. They have no effect on the result.
    pub unusable: Vec<String>,
    /// Documents that the search left out. They may hold an objection.
    pub left_out: Option<LeftOut>,
}

/// Collects the signatures of the policy's signers and witnesses on an image. Skips all other
/// referrers of the image, no matter how many there are and of which kind.
///
/// # Errors
/// When the registry refuses to list referrers, or can't be reached before `is_enough` is
/// satisfied.
pub fn gather(
    remote: &Remote,
    subject: &Digest,
    policy: &Policy,
    gathered: &mut Gathered,
    is_enough: impl Fn(&Gathered) -> bool,
) -> Result<()> {
    let left_out = tag::search(remote, subject, |signature| {
        let verified = signature.and_then(|signature| {
            let digest = subject.as_str();
            let key = |key: &PublicKey| signature.verify(key, digest).map(|()| None);
            let identity = |root: &TrustedRoot| {
                let verified = signature.verify_identity(root, digest);
                verified.map(|identity| (None, identity))
            };
            author(policy, key, signature.has_certificate().then_some(identity))
        });
        let statement = || crateyard_signing::image_statement(subject.as_str());
        let name = "a signature under the tag";
        gathered.add(policy, subject, name, verified, statement);
        is_enough(gathered)
    })?;
    gathered.leave_out(left_out);
    if is_enough(gathered) {
        return Ok(());
    }
    let left_out = remote.search_documents(subject, BUNDLE_TYPE, |name, document| {
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
        gathered.add(policy, subject, name, verified, Value::default);
        is_enough(gathered)
    })?;
    gathered.leave_out(left_out);
    Ok(())
}

type Verified<T> = Result<T, crateyard_signing::Error>;
/// The statement of a signature, if it has one, and its author.
type Signed = Option<(Option<Value>, Author)>;

/// Finds the author of a signature: the holder of one of the policy's keys, or an identity by its
/// trusted root. Returns `None` if no key fits and no identity can be checked.
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

/// Returns what counts of a statement whose author the policy does not mean: whether the author has
/// signed the image. Anybody can have an identity and sign thousands of large statements.
fn kind_of(statement: &Value) -> Value {
    match statement["predicateType"] == IMAGE_PREDICATE {
        true => json!({"predicateType": IMAGE_PREDICATE}),
        false => Value::Null,
    }
}

impl Gathered {
    /// Notes that a search left documents out, before all that it read, so that people see it.
    fn leave_out(&mut self, left_out: Option<LeftOut>) {
        if let Some(left_out) = left_out {
            self.unusable.insert(0, left_out.to_string());
            self.left_out.get_or_insert(left_out);
        }
    }

    fn add(
        &mut self,
        policy: &Policy,
        subject: &Digest,
        name: &str,
        verified: Result<Signed, String>,
        default: impl Fn() -> Value,
    ) {
        match verified {
            Ok(Some((statement, author))) => {
                let statement = statement.unwrap_or_else(default);
                let is_meant = policy.rules().any(|rule| author.is_meant_by(rule));
                self.found.push(Found {
                    subject: subject.clone(),
                    author,
                    statement: match is_meant {
                        true => statement,
                        false => kind_of(&statement),
                    },
                });
            }
            Ok(None) => {}
            Err(reason) => {
                let reason = reason.lines().next().unwrap_or_default();
                self.unusable.push(format!("{name}: {reason}"));
            }
        }
    }
}
