//! The people and the run behind an image, as a CI system reports them. A build by Nix knows
//! nothing about them, so neither the image's digest nor the documents beside it depend on them.
//! They join the provenance when it is attached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Resource, Statement};

/// One run of a CI system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The builder's address.
    pub builder: String,
    /// The address of the run.
    pub run: Option<String>,
    /// The workflow or job, and the event that started it.
    pub workflow: Option<Workflow>,
    /// The inputs of the workflow, if somebody started it by hand.
    pub inputs: BTreeMap<String, Value>,
    /// The variables that people set for the job. Values that may be secret are masked.
    pub variables: BTreeMap<String, Value>,
    /// Other facts that the system states about the run, by name.
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

/// The start and end of an image's build, as RFC 3339 text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// The time at which the command that built the image began.
    pub started_on: String,
    /// The time at which the image was finished.
    pub finished_on: String,
}

/// The address of the run that made an image, and the build's times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildMetadata {
    /// The address of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// The times at which the build began and ended. Crates and layers from a store or a cache are
    /// older.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

impl Statement {
    /// Records who started the build, and when, as far as that is known.
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
