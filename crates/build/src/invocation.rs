//! Describes the CI run that this process belongs to.

mod parameters;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use crateyard_attestation::provenance::{Invocation, Workflow};
use crateyard_terminal::note;

/// The size limit for reading an event of GitHub, in bytes. GitHub sends 25 MB at most.
const MAX_EVENT: u64 = 32 << 20;

/// Describes the CI run of this process. Returns `None` outside of the supported CI systems.
pub fn here() -> Option<Invocation> {
    let all = std::env::vars_os();
    let text =
        all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    of_environment(text.collect())
}

/// Describes the CI run from its environment variables.
fn of_environment(variables: BTreeMap<String, String>) -> Option<Invocation> {
    let environment = Environment(variables);
    if environment.has("GITHUB_ACTIONS") {
        return environment.github();
    }
    if environment.has("GITLAB_CI") {
        return environment.gitlab();
    }
    None
}

struct Environment(BTreeMap<String, String>);

impl Environment {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).as_deref() == Some("true")
    }

    /// Returns the variables among these that are set.
    fn all(&self, names: &[&str]) -> BTreeMap<String, String> {
        let values = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.get(name)?)));
        values.collect()
    }

    /// Describes a run of GitHub Actions. The builder is the workflow at its reference, as in the
    /// certificates for GitHub's tokens.
    /// <https://docs.github.com/actions/reference/variables-reference>
    fn github(&self) -> Option<Invocation> {
        let server = self
            .get("GITHUB_SERVER_URL")
            .unwrap_or_else(|| "https://github.com".to_owned());
        let repository = format!("{server}/{}", self.get("GITHUB_REPOSITORY")?);
        let workflow = self.get("GITHUB_WORKFLOW_REF")?;
        // OWNER/NAME/PATH@REFERENCE
        let (path, reference) = workflow.split_once('@')?;
        let path = path.splitn(3, '/').nth(2)?;
        let attempt = self
            .get("GITHUB_RUN_ATTEMPT")
            .unwrap_or_else(|| "1".to_owned());
        let run = self.get("GITHUB_RUN_ID");
        let commit = self.get("GITHUB_SHA").zip(self.get("GITHUB_REF"));
        Some(Invocation {
            builder: format!("{server}/{workflow}"),
            run: run.map(|run| format!("{repository}/actions/runs/{run}/attempts/{attempt}")),
            workflow: Some(Workflow {
                path: path.to_owned(),
                reference: reference.to_owned(),
                repository: repository.clone(),
            }),
            inputs: self.inputs(),
            variables: BTreeMap::new(),
            environment: self.all(&[
                "GITHUB_ACTOR_ID",
                "GITHUB_EVENT_NAME",
                "GITHUB_REPOSITORY_ID",
                "GITHUB_REPOSITORY_OWNER_ID",
                "RUNNER_ENVIRONMENT",
            ]),
            commit: commit
                .map(|(commit, reference)| (format!("git+{repository}@{reference}"), commit)),
        })
    }

    /// Returns the inputs of a workflow that a person started by hand.
    /// <https://docs.github.com/actions/reference/events-that-trigger-workflows#workflow_dispatch>
    fn inputs(&self) -> BTreeMap<String, serde_json::Value> {
        let Some(path) = self.get("GITHUB_EVENT_PATH") else {
            return BTreeMap::new();
        };
        let mut event = Vec::new();
        let file = File::open(&path).map(|file| file.take(MAX_EVENT));
        match file.and_then(|mut file| file.read_to_end(&mut event)) {
            Ok(_) => parameters::of_event(&event),
            Err(error) => {
                note!("the provenance has no inputs of the workflow: cannot read {path}: {error}");
                BTreeMap::new()
            }
        }
    }

    /// Describes a job of GitLab. The builder is the runner, as in GitLab's own provenance.
    /// <https://docs.gitlab.com/ci/variables/predefined_variables/>
    fn gitlab(&self) -> Option<Invocation> {
        let project = self.get("CI_PROJECT_URL")?;
        let runner = self.get("CI_RUNNER_ID")?;
        let reference = self.get("CI_COMMIT_REF_NAME")?;
        let commit = self.get("CI_COMMIT_SHA");
        Some(Invocation {
            builder: format!("{project}/-/runners/{runner}"),
            run: self.get("CI_JOB_URL"),
            workflow: Some(Workflow {
                path: self
                    .get("CI_CONFIG_PATH")
                    .unwrap_or_else(|| ".gitlab-ci.yml".to_owned()),
                reference: reference.clone(),
                repository: project.clone(),
            }),
            inputs: BTreeMap::new(),
            variables: parameters::of_job(self.0.keys().cloned()),
            environment: self.all(&[
                "CI_JOB_NAME",
                "CI_PIPELINE_ID",
                "CI_PIPELINE_SOURCE",
                "CI_PROJECT_ID",
                "CI_RUNNER_EXECUTABLE_ARCH",
                "GITLAB_USER_ID",
            ]),
            commit: commit.map(|commit| (format!("git+{project}@{reference}"), commit)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Invocation> {
        let variables = variables.iter();
        let owned = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        of_environment(owned.collect())
    }

    #[test]
    fn github_names_workflow_run_and_commit() {
        let directory = tempfile::tempdir().unwrap();
        let event = directory.path().join("event.json");
        std::fs::write(&event, r#"{"inputs": {"channel": "beta"}}"#).unwrap();
        let found = of(&[
            ("GITHUB_EVENT_PATH", event.to_str().unwrap()),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "team/shop"),
            (
                "GITHUB_WORKFLOW_REF",
                "team/shop/.github/workflows/release.yml@refs/tags/v1",
            ),
            ("GITHUB_RUN_ID", "77"),
            ("GITHUB_SHA", "abc"),
            ("GITHUB_REF", "refs/tags/v1"),
            ("GITHUB_TOKEN", "secret"),
            ("RUNNER_ENVIRONMENT", "github-hosted"),
        ])
        .unwrap();
        let builder = "https://github.com/team/shop/.github/workflows/release.yml@refs/tags/v1";
        assert_eq!(found.builder, builder);
        let run = "https://github.com/team/shop/actions/runs/77/attempts/1";
        assert_eq!(found.run.as_deref(), Some(run));
        assert_eq!(
            found.workflow.as_ref().unwrap().path,
            ".github/workflows/release.yml"
        );
        let commit = (
            "git+https://github.com/team/shop@refs/tags/v1".to_owned(),
            "abc".to_owned(),
        );
        assert_eq!(found.commit, Some(commit));
        assert_eq!(found.inputs["channel"], "beta");
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn gitlab_names_runner_job_and_commit() {
        let found = of(&[
            ("GITLAB_CI", "true"),
            ("CI_PROJECT_URL", "https://gitlab.example/team/shop"),
            ("CI_RUNNER_ID", "12"),
            ("CI_COMMIT_REF_NAME", "main"),
            ("CI_COMMIT_SHA", "abc"),
            ("CI_JOB_URL", "https://gitlab.example/team/shop/-/jobs/9"),
            ("CHANNEL", "a secret, perhaps"),
        ])
        .unwrap();
        assert_eq!(found.variables["CHANNEL"], parameters::MASKED);
        assert!(!format!("{found:?}").contains("perhaps"));
        assert_eq!(
            found.builder,
            "https://gitlab.example/team/shop/-/runners/12"
        );
        assert_eq!(
            found.run.as_deref(),
            Some("https://gitlab.example/team/shop/-/jobs/9")
        );
        assert_eq!(found.commit.unwrap().1, "abc");
    }

    #[test]
    fn elsewhere_nobody_is_named() {
        assert_eq!(of(&[("CI", "true")]), None);
        assert_eq!(of(&[("GITHUB_ACTIONS", "true")]), None);
    }
}
