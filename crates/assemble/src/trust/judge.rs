//! Checks the collected statements against a policy: a judgement for each rule, with its reason.

use crateyard_oci::Digest;
use image::attestation::provenance::{self, Statement};
use serde::Serialize;
use signing::IMAGE_PREDICATE;

use super::REBUILD_PREDICATE;
use super::gather::{Author, Found, Gathered};
use super::policy::{Pattern, Policy};

/// The judgement of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The rule: `signers`, `provenance.builder` and so on.
    pub rule: &'static str,
    /// Whether it is satisfied.
    pub satisfied: bool,
    /// The reason, for people.
    pub reason: String,
}

impl Judgement {
    fn new(rule: &'static str, verdict: Result<String, String>) -> Judgement {
        Judgement {
            rule,
            satisfied: verdict.is_ok(),
            reason: verdict.unwrap_or_else(|reason| reason),
        }
    }
}

impl Policy {
    /// Judges an image. `root` is the target of its reference. `images` are the images for single
    /// platforms, which may be the same.
    pub fn judge(&self, root: &Digest, images: &[Digest], gathered: &Gathered) -> Vec<Judgement> {
        let mut all = Vec::new();
        if !self.signers.is_empty() {
            all.push(Judgement::new("signers", self.signers_of(root, gathered)));
        }
        if !self.provenance.is_empty() {
            for image in images {
                all.extend(self.provenance_of(image, gathered));
            }
        }
        if self.count > 0 {
            for image in images {
                all.push(Judgement::new(
                    "witnesses",
                    self.witnesses_of(image, gathered),
                ));
            }
        }
        all
    }

    fn signers_of(&self, root: &Digest, gathered: &Gathered) -> Result<String, String> {
        let mut signed = gathered.about(root, IMAGE_PREDICATE);
        if let Some(found) = signed.find(|found| self.is_signer(&found.author)) {
            return Ok(format!("signed by {}", found.author.name()));
        }
        let names: Vec<String> = self.signers.iter().map(ToString::to_string).collect();
        let mut reason = format!("NOT SIGNED by {}", names.join(", nor by "));
        let others: Vec<String> = gathered
            .about(root, IMAGE_PREDICATE)
            .map(|found| found.author.name())
            .collect();
        if !others.is_empty() {
            reason += &format!("; signed by {}", others.join(", "));
        }
        Err(reason)
    }

    fn is_signer(&self, author: &Author) -> bool {
        self.signers.iter().any(|rule| author.is_meant_by(rule))
    }

    /// A judgement for each field, by the provenance that satisfies the most.
    fn provenance_of(&self, image: &Digest, gathered: &Gathered) -> Vec<Judgement> {
        let signed = gathered.about(image, provenance::PREDICATE_TYPE);
        let signed = signed.filter(|found| self.is_signer(&found.author));
        let judged = signed.map(|found| self.fields(Some(found)));
        let satisfied = |all: &Vec<Judgement>| all.iter().filter(|it| it.satisfied).count();
        let best = judged.max_by_key(satisfied);
        best.unwrap_or_else(|| self.fields(None))
    }

    fn fields(&self, found: Option<&Found>) -> Vec<Judgement> {
        let statement =
            found.map(|found| serde_json::from_value::<Statement>(found.statement.clone()));
        let predicate = statement.map(|it| it.map(|it| it.predicate));
        let wanted = &self.provenance;
        let workflow =
            |it: &provenance::Predicate| it.build_definition.external_parameters.workflow.clone();
        let values: [(&'static str, &Option<Pattern>, Option<String>); 3] = match &predicate {
            Some(Ok(own)) => [
                (
                    "provenance.builder",
                    &wanted.builder,
                    Some(own.run_details.builder.id.clone()),
                ),
                (
                    "provenance.repository",
                    &wanted.repository,
                    workflow(own).map(|it| it.repository),
                ),
                (
                    "provenance.ref",
                    &wanted.reference,
                    workflow(own).map(|it| it.reference),
                ),
            ],
            _ => [
                ("provenance.builder", &wanted.builder, None),
                ("provenance.repository", &wanted.repository, None),
                ("provenance.ref", &wanted.reference, None),
            ],
        };
        let judge = |(rule, pattern, value): (&'static str, &Option<Pattern>, Option<String>)| {
            let pattern = pattern.as_ref()?;
            let verdict = match (&predicate, value) {
                (None, _) => Err("no signer of the policy has signed a provenance".to_owned()),
                (Some(Err(error)), _) => Err(format!("the provenance can't be read: {error}")),
                (_, Some(value)) if pattern.matches(&value) => Ok(value),
                (_, Some(value)) => Err(format!("it is {value}, not {pattern}")),
                (_, None) => Err(format!(
                    "the provenance names none, and it must be {pattern}"
                )),
            };
            Some(Judgement::new(rule, verdict))
        };
        values.into_iter().filter_map(judge).collect()
    }

    /// Checks that enough witnesses, who have not signed the image themselves, have built the same
    /// image, and that none has built another one.
    fn witnesses_of(&self, image: &Digest, gathered: &Gathered) -> Result<String, String> {
        let signers: Vec<&Author> = gathered
            .found
            .iter()
            .filter(|found| found.statement["predicateType"] == IMAGE_PREDICATE)
            .map(|found| &found.author)
            .filter(|author| self.is_signer(author))
            .collect();
        let mut witnesses: Vec<&Author> = Vec::new();
        for found in gathered.about(image, REBUILD_PREDICATE) {
            let author = &found.author;
            if !self.witnesses.iter().any(|rule| author.is_meant_by(rule)) {
                continue;
            }
            let predicate = &found.statement["predicate"];
            let (algorithm, hex) = (image.algorithm().name(), image.hex());
            if predicate["result"] != "same" || predicate["rebuilt"]["digest"][algorithm] != hex {
                let digest = &predicate["rebuilt"]["digest"][algorithm];
                let name = author.name();
                return Err(format!(
                    "{name} has built something else: {algorithm}:{}",
                    digest.as_str().unwrap_or("none")
                ));
            }
            let is_known = |own: &&Author| own.is_same(author);
            if !witnesses.iter().any(is_known) && !signers.iter().any(is_known) {
                witnesses.push(author);
            }
        }
        let mut names: Vec<String> = witnesses.iter().map(|it| it.name()).collect();
        names.sort();
        let count = names.len();
        match count >= self.count {
            true => Ok(format!("built again by {}", names.join(", "))),
            false => Err(format!(
                "{} independent witnesses are wanted and {count} have built it again{}{}",
                self.count,
                if count > 0 { ": " } else { "" },
                names.join(", ")
            )),
        }
    }
}

impl Gathered {
    fn about<'a>(
        &'a self,
        subject: &'a Digest,
        predicate: &'a str,
    ) -> impl Iterator<Item = &'a Found> {
        let all = self.found.iter();
        all.filter(move |it| it.subject == *subject && it.statement["predicateType"] == predicate)
    }
}
