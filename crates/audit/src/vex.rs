//! Findings as [OpenVEX](https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md), version 0.2.0.

use crateyard_oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::finding::{Finding, Kind, Status};
use crate::subject::Subject;

/// The media type of a document, and its artifact type in a registry.
pub const MEDIA_TYPE: &str = "application/vnd.openvex+json";
/// The predicate type of a document in an in-toto statement, as `cosign attest --type openvex` sets
/// it.
pub const PREDICATE_TYPE: &str = "https://openvex.dev/ns";
const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

/// A document about one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The format's version.
    #[serde(rename = "@context")]
    pub context: String,
    /// An address that is unique to the document.
    #[serde(rename = "@id")]
    pub id: String,
    /// The author.
    pub author: String,
    /// The time of the audit.
    pub timestamp: String,
    /// The document's version.
    pub version: u64,
    /// The program that made the document.
    pub tooling: String,
    /// The statements.
    pub statements: Vec<Value>,
}

impl Document {
    /// Makes the document of an image's findings. Returns `None` if there are no findings, because
    /// the format has no empty documents, or if the image is not built yet.
    ///
    /// `time` is the time of the audit in the form of RFC 3339. Nothing else in the document
    /// depends on the clock. The identifier is derived from the rest of the document.
    pub fn new(subject: &Subject, findings: &[Finding], time: &str) -> Option<Document> {
        let digest = subject.digest.as_ref()?;
        let product = crateyard_image::attestation::image_purl(&subject.name, digest);
        let said = findings.iter().filter(|it| is_vulnerability(it));
        let statements: Vec<Value> = said.map(|it| statement(&product, digest, it)).collect();
        if statements.is_empty() {
            return None;
        }
        let content = Digest::of(json!(statements).to_string().as_bytes());
        let supplier = subject.supplier.as_deref();
        let supplier = supplier
            .and_then(|it| it.split_once(": "))
            .map(|(_, name)| name);
        Some(Document {
            context: CONTEXT.to_owned(),
            id: format!(
                "https://github.com/crateyard/crateyard/vex/{}/{}",
                digest.hex(),
                content.hex()
            ),
            author: supplier.unwrap_or("Crateyard").to_owned(),
            timestamp: time.to_owned(),
            version: 1,
            tooling: format!("crateyard-{}", env!("CARGO_PKG_VERSION")),
            statements,
        })
    }

    /// Whether the document is about the image with this manifest digest, and about no other.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let products = self
            .statements
            .iter()
            .filter_map(|it| it["products"].as_array());
        let mut products = products.flatten().peekable();
        products.peek().is_some()
            && products.all(|it| it["hashes"]["sha-256"].as_str() == Some(digest.hex()))
    }
}

/// Whether a finding is a vulnerability. An unmaintained crate is none.
fn is_vulnerability(finding: &Finding) -> bool {
    !matches!(finding.kind, Kind::Unmaintained | Kind::Notice)
}

fn statement(product: &str, digest: &Digest, finding: &Finding) -> Value {
    let mut vulnerability =
        json!({"@id": finding.url, "name": finding.id, "description": finding.title});
    if !finding.aliases.is_empty() {
        vulnerability["aliases"] = json!(finding.aliases);
    }
    let mut statement = json!({
        "vulnerability": vulnerability,
        "products": [{
            "@id": product,
            "identifiers": {"purl": product},
            "hashes": {"sha-256": digest.hex()},
            "subcomponents": [{
                "@id": finding.component.purl,
                "identifiers": {"purl": finding.component.purl},
            }],
        }],
    });
    let (status, text) = match finding.status {
        Status::Affected => ("affected", "action_statement"),
        Status::NotAffected(justification) => {
            statement["justification"] = json!(justification);
            ("not_affected", "impact_statement")
        }
        Status::Fixed => ("fixed", "status_notes"),
        Status::UnderInvestigation => ("under_investigation", "status_notes"),
    };
    statement["status"] = json!(status);
    statement[text] = json!(match finding.status {
        Status::Affected => action(finding),
        _ => finding.reason.clone(),
    });
    if finding.status == Status::Affected {
        statement["status_notes"] = json!(finding.reason);
    }
    statement
}

/// Returns the next step for a user of the image.
fn action(finding: &Finding) -> String {
    if let Some(reason) = &finding.ignored {
        return format!("Nothing is done for now: {reason}");
    }
    match finding.fixed_in.is_empty() {
        true => format!("No version of {} has a fix.", finding.component.name),
        false => format!(
            "Update {} to {}.",
            finding.component.name,
            finding.fixed_in.join(" or ")
        ),
    }
}
