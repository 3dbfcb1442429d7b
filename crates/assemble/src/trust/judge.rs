//! Checks the collected statements against a policy, and gives a judgement for each rule with its
//! reason.

use crateyard_attestation::provenance::{self, Statement};
use crateyard_oci::Digest;
use crateyard_signing::IMAGE_PREDICATE;
use serde::Serialize;

use super::REBUILD_PREDICATE;
use super::gather::{Author, Found, Gathered};
use super::policy::{Pattern, Policy};

/// The judgement of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The rule: `signers`, `provenance.builder` and so on.
    pub rule: &'static str,
    /// Whether the rule is satisfied.
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
    /// Judges an image. `root` is the digest that its reference names. `images` are the digests of
    /// the images for single platforms, and may be the same.
    pub fn judge(&self, root: &Digest, images: &[Digest], gathered: &Gathered) -> Vec<Judgement> {
        let mut all = Vec::new();
        if !self.signers.is_empty() {
            all.push(Judgement::new("signers", self.signers_of(root, gathered)));
        }
        if images.is_empty() && self.is_about_each_image() {
            let reason = "there is no container image that it could be asked of".to_owned();
            all.push(Judgement::new("images", Err(reason)));
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

    fn is_about_each_image(&self) -> bool {
        !self.provenance.is_empty() || self.count > 0
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

    /// Judges each field of the provenance that satisfies the most fields.
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

    /// Whether enough witnesses who have not signed the image have built the same image, and no
    /// witness has built another one. A signer counts as such even if the policy does not name it,
    /// because no party may vouch twice.
    fn witnesses_of(&self, image: &Digest, gathered: &Gathered) -> Result<String, String> {
        let signers: Vec<&Author> = gathered
            .found
            .iter()
            .filter(|found| found.statement["predicateType"] == IMAGE_PREDICATE)
            .map(|found| &found.author)
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
        if let Some(left_out) = &gathered.left_out {
            return Err(format!("{left_out}, and the others may hold an objection"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::LeftOut;
    use crate::trust::policy::Rule;
    use crateyard_signing::{Identity, SecretKey};
    use serde_json::json;

    const ISSUER: &str = "https://issuer.example";

    fn image() -> Digest {
        Digest::of(b"image")
    }

    fn says(author: &Author, kind: &str) -> Found {
        let image = image();
        let digest = json!({image.algorithm().name(): image.hex()});
        let predicate = json!({"result": "same", "rebuilt": {"digest": digest}});
        Found {
            subject: image.clone(),
            author: author.clone(),
            statement: crateyard_signing::statement(image.as_str(), kind, predicate),
        }
    }

    fn key(name: &str) -> (Author, Rule) {
        let (name, key) = (name.to_owned(), SecretKey::generate().public());
        let author = Author::Key {
            name: name.clone(),
            key: key.clone(),
        };
        (author, Rule::Key { name, key })
    }

    fn identity(subject: &str) -> Author {
        Author::Identity(Identity {
            subject: subject.to_owned(),
            issuer: ISSUER.to_owned(),
            claims: Default::default(),
        })
    }

    fn wants(count: usize, witnesses: Vec<Rule>) -> Policy {
        Policy {
            witnesses,
            count,
            ..Policy::default()
        }
    }

    /// Returns the only judgement.
    fn judged(policy: &Policy, images: &[Digest], gathered: &Gathered) -> (bool, String) {
        let mut all = policy.judge(&image(), images, gathered);
        assert_eq!(all.len(), 1, "{all:?}");
        let own = all.remove(0);
        (own.satisfied, own.reason)
    }

    fn gathered(found: Vec<Found>) -> Gathered {
        Gathered {
            found,
            ..Gathered::default()
        }
    }

    #[test]
    fn an_index_without_images_satisfies_no_rule_about_images() {
        let (_, rule) = key("ann");
        let (satisfied, reason) = judged(&wants(1, vec![rule]), &[], &gathered(Vec::new()));
        assert!(
            !satisfied && reason.contains("no container image"),
            "{reason}"
        );
    }

    #[test]
    fn who_has_signed_the_image_is_no_witness_even_where_no_signer_is_wanted() {
        let (ann, rule) = key("ann");
        let policy = wants(1, vec![rule]);
        let mut all = gathered(vec![says(&ann, REBUILD_PREDICATE)]);
        assert!(judged(&policy, &[image()], &all).0);
        all.found.push(says(&ann, IMAGE_PREDICATE));
        assert!(!judged(&policy, &[image()], &all).0);
    }

    #[test]
    fn a_workflow_is_one_witness_on_all_its_branches() {
        let rule = Rule::Identity {
            identity: Pattern::regexp(".*").unwrap(),
            issuer: Pattern::Exact(ISSUER.to_owned()),
        };
        let policy = wants(2, vec![rule]);
        let accepts = |subjects: [&str; 2]| {
            let found = subjects.map(|it| says(&identity(it), REBUILD_PREDICATE));
            judged(&policy, &[image()], &gathered(found.into())).0
        };
        let workflow = "https://github.com/team/shop/.github/workflows/witness.yml";
        let [main, next] = ["main", "next"].map(|it| format!("{workflow}@refs/heads/{it}"));
        assert!(!accepts([&main, &next]));
        let other = main.replace("team", "others");
        assert!(accepts([&main, &other]));
        assert!(accepts(["ann@one.example", "ann@two.example"]));
    }

    #[test]
    fn what_was_left_out_may_hold_an_objection() {
        let (ann, rule) = key("ann");
        let all = Gathered {
            left_out: Some(LeftOut {
                list: "the list of referrers",
                looked: 2000,
                total: 2001,
            }),
            ..gathered(vec![says(&ann, REBUILD_PREDICATE)])
        };
        let (satisfied, reason) = judged(&wants(1, vec![rule]), &[image()], &all);
        assert!(!satisfied && reason.contains("2001 documents"), "{reason}");
    }
}
