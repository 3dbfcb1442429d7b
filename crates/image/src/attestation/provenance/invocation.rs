//! Who had an image built and by which run: what a CI system says of itself. A build by Nix knows
//! nothing of it, so the image's digest and the documents beside it do not depend on it; it joins
//! the provenance when that is attached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Resource, Statement};

/// One run of a CI system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Who builds, as an address.
    pub builder: String,
    /// The run, as an address.
    pub run: Option<String>,
    /// What was asked for: the workflow or job, and by which event.
    pub workflow: Option<Workflow>,
    /// The inputs of the workflow, if somebody started it by hand.
    pub inputs: BTreeMap<String, Value>,
    /// The variables that people have set for the job. Values that may be secret are masked.
    pub variables: BTreeMap<String, Value>,
    /// What else the system says of the run, by name.
    pub environment: BTreeMap<String, String>,
    /// The commit that was checked out: the repository's address with the reference, and the
    /// commit's hash.
    pub commit: Option<(String, String)>,
}

/// The description of a run, which people keep in their repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// The repository's address.
    pub repository: String,
    /// The branch or tag.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The file in the repository, or the job's name.
    pub path: String,
}

/// From when until when an image was built, as RFC 3339 text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// When the command that built the image began.
    pub started_on: String,
    /// When the image was there.
    pub finished_on: String,
}

/// When and under which name an image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildMetadata {
    /// The run, as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// When the build began and ended. Crates and layers that a store or a cache had are older.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

impl Statement {
    /// Says who had the image built, and when, as far as that is known.
    pub fn invoked_by(&mut self, invocation: &Invocation, times: Option<Times>) {
        let predicate = &mut self.predicate;
        predicate.run_details.builder.id = invocation.builder.clone();
        predicate.run_details.metadata = invocation.run.clone().map(|run| BuildMetadata {
            invocation_id: Some(run),
            times,
        });
        let definition = &mut predicate.build_definition;
        definition.external_parameters.workflow = invocation.workflow.clone();
        definition.external_parameters.inputs = invocation.inputs.clone();
        definition.external_parameters.variables = invocation.variables.clone();
        definition.internal_parameters.environment = invocation.environment.clone();
        if let Some((address, commit)) = &invocation.commit {
            let mut resource = Resource::new(None, Some(address.clone()), "repository");
            resource
                .digest
                .insert("gitCommit".to_owned(), commit.clone());
            definition.resolved_dependencies.push(resource);
        }
    }
}
