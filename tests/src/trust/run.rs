//! The provenance that a run of a CI system attaches: parameters, times, and no secret.

use super::attached;
use crate::cache::parts::Registry;
use crate::checkout::{Checkout, assemble};
use crate::nix;
use crate::workspaces::small;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// The commit that the runs have checked out.
const COMMIT: &str = "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff";

/// The image of a workspace, and a registry.
struct Shop {
    workspace: TempDir,
    registry: Registry,
    event: PathBuf,
    _crateyard: Checkout,
}

/// Somebody started the run of this push by hand. The attached documents pass the validators.
pub fn is_described() -> Result<()> {
    let inputs = json!({"channel": "beta", "deploy-token": "hush"});
    let shop = Shop::new(&json!({"inputs": inputs}))?;
    let begin = now()?;
    let first = shop.push("77")?;
    let again = shop.push("77")?;
    ensure!(
        first["unchanged"] == false && again["unchanged"] == true,
        "{again}"
    );
    let digest = first["digest"].as_str().context("no digest")?;
    let provenance = shop.provenance(digest)?;
    let definition = &provenance["predicate"]["buildDefinition"];
    let asked = &definition["externalParameters"]["inputs"];
    ensure!(
        *asked == json!({"channel": "beta", "deploy-token": "[MASKED]"}),
        "{asked}"
    );
    ensure!(
        !provenance.to_string().contains("hush"),
        "a secret is in it"
    );
    let metadata = &provenance["predicate"]["runDetails"]["metadata"];
    let time = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
    let (started, finished) = (time("startedOn"), time("finishedOn"));
    // RFC 3339 in UTC sorts like the times.
    ensure!(
        begin <= started && started <= finished && finished <= now()?,
        "{begin}: {metadata}"
    );
    valid(&provenance)?;
    let other = shop.push("78")?;
    ensure!(other["digest"] == digest, "the image depends on the run");
    ensure!(
        other["unchanged"] == false,
        "a run has no provenance of its own"
    );
    Ok(())
}

/// The variables of a GitLab job. The last ones are the pipeline's own.
const JOB: [(&str, &str); 17] = [
    ("GITLAB_CI", "true"),
    ("CI", "true"),
    ("CI_PROJECT_URL", "https://gitlab.example/team/shop"),
    ("CI_PROJECT_ID", "5"),
    ("CI_RUNNER_ID", "12"),
    ("CI_RUNNER_EXECUTABLE_ARCH", "linux/amd64"),
    ("CI_COMMIT_REF_NAME", "v1"),
    ("CI_COMMIT_SHA", COMMIT),
    ("CI_CONFIG_PATH", "ci/release.yml"),
    ("CI_JOB_URL", "https://gitlab.example/team/shop/-/jobs/9"),
    ("CI_JOB_NAME", "publish"),
    ("CI_JOB_TOKEN", "hush"),
    ("CI_PIPELINE_ID", "31"),
    ("CI_PIPELINE_SOURCE", "web"),
    ("GITLAB_USER_ID", "3"),
    ("CHANNEL", "hush, perhaps"),
    ("DEPLOY_KEY", "hush"),
];

/// A job of GitLab pushes the image that is pushed elsewhere, too. Its provenance names the runner,
/// the pipeline's file, the commit and the variables, without their values.
pub fn of_gitlab() -> Result<()> {
    let shop = Shop::new(&json!({}))?;
    let elsewhere = shop.push_with(&[])?;
    let digest = elsewhere["digest"].as_str().context("no digest")?;
    let nobody = shop.provenance(digest)?;
    let (begin, job) = (now()?, shop.push_with(&JOB)?);
    ensure!(job["digest"] == digest, "the image depends on the job");
    let mut provenances = shop.provenances(digest)?;
    provenances.retain(|it| *it != nobody);
    let [provenance] = &provenances[..] else {
        anyhow::bail!("the job attached none, or several: {provenances:#?}");
    };
    let predicate = &provenance["predicate"];
    let definition = &predicate["buildDefinition"];
    let metadata = &predicate["runDetails"]["metadata"];
    for (what, found, expected) in [
        (
            "builder",
            &predicate["runDetails"]["builder"]["id"],
            json!("https://gitlab.example/team/shop/-/runners/12"),
        ),
        (
            "invocation",
            &metadata["invocationId"],
            json!("https://gitlab.example/team/shop/-/jobs/9"),
        ),
        (
            "workflow",
            &definition["externalParameters"]["workflow"],
            json!({"path": "ci/release.yml", "ref": "v1",
                   "repository": "https://gitlab.example/team/shop"}),
        ),
        (
            "variables",
            &definition["externalParameters"]["variables"],
            json!({"CHANNEL": "[MASKED]", "DEPLOY_KEY": "[MASKED]"}),
        ),
        (
            "environment",
            &definition["internalParameters"]["environment"],
            json!({"CI_JOB_NAME": "publish", "CI_PIPELINE_ID": "31", "CI_PIPELINE_SOURCE": "web",
                   "CI_PROJECT_ID": "5", "CI_RUNNER_EXECUTABLE_ARCH": "linux/amd64",
                   "GITLAB_USER_ID": "3"}),
        ),
    ] {
        let found = match what {
            "variables" => own_variables(found),
            _ => found.clone(),
        };
        ensure!(found == expected, "{what}: {found}");
    }
    ensure!(
        !provenance.to_string().contains("hush"),
        "a secret is in it"
    );
    let started = metadata["startedOn"].as_str().unwrap_or_default();
    ensure!(*begin <= *started, "{begin}: {metadata}");
    let inputs = definition["resolvedDependencies"].as_array();
    let is_commit = |it: &&Value| it["digest"]["gitCommit"] == COMMIT;
    let commit = inputs.into_iter().flatten().find(is_commit);
    let address = &commit.context("no commit")?["uri"];
    ensure!(
        *address == "git+https://gitlab.example/team/shop@v1",
        "the commit is of {address}"
    );
    valid(provenance)
}

/// Leaves out the variables that the test's own environment has.
fn own_variables(found: &Value) -> Value {
    let is_own = |name: &str| JOB.iter().any(|(own, _)| *own == name);
    let found = found.as_object().into_iter().flatten();
    let own = found.filter(|(name, _)| is_own(name));
    own.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Returns the present time in the documents' format.
fn now() -> Result<String> {
    Ok(duct::cmd!("date", "--utc", "+%Y-%m-%dT%H:%M:%SZ").read()?)
}

impl Shop {
    fn new(event: &Value) -> Result<Shop> {
        let (workspace, crateyard) = (small("shop", "fn main() {}", "")?, Checkout::new()?);
        let flake = format!(
            "{{\n  inputs.crateyard.url = \"path:{}\";\n  outputs = {{ self, crateyard }}: \
             crateyard.lib.mkFlake {{ src = self; }};\n}}\n",
            crateyard.path().display()
        );
        fs::write(workspace.path().join("flake.nix"), flake)?;
        nix::nix(&[
            "flake",
            "lock",
            &format!("path:{}", workspace.path().display()),
        ])?;
        let file = workspace.path().join("event.json");
        fs::write(&file, event.to_string())?;
        Ok(Shop {
            workspace,
            registry: Registry::start()?,
            event: file,
            _crateyard: crateyard,
        })
    }

    /// Pushes from a job of GitHub Actions.
    fn push(&self, run: &str) -> Result<Value> {
        let event = self.event.to_string_lossy();
        self.push_with(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "team/shop"),
            (
                "GITHUB_WORKFLOW_REF",
                "team/shop/.github/workflows/a.yml@refs/tags/v1",
            ),
            ("GITHUB_RUN_ID", run),
            ("GITHUB_SHA", COMMIT),
            ("GITHUB_REF", "refs/tags/v1"),
            ("GITHUB_EVENT_PATH", &event),
        ])
    }

    fn push_with(&self, variables: &[(&str, &str)]) -> Result<Value> {
        let target = format!("{}/team/shop:v1", self.registry.host);
        let push = duct::cmd!(
            assemble(),
            "push",
            "shop",
            "--to",
            target,
            "--attest",
            "--json"
        );
        let push = push.dir(self.workspace.path());
        let push = variables
            .iter()
            .fold(push, |push, (name, value)| push.env(name, value));
        // The tests may run in a job themselves. The variables above come first.
        let push = push.env_remove("GITHUB_ACTIONS").env_remove("GITLAB_CI");
        let said: Value = serde_json::from_str(&push.read()?)?;
        Ok(said["images"][0].clone())
    }

    /// Returns the provenance that refers to an image.
    fn provenance(&self, digest: &str) -> Result<Value> {
        let all = self.provenances(digest)?;
        all.into_iter().next().context("no provenance")
    }

    /// Returns all provenances that refer to an image.
    fn provenances(&self, digest: &str) -> Result<Vec<Value>> {
        let mut all = attached::documents_about(&self.registry, "team/shop", digest)?;
        all.retain(|(kind, _)| kind == "application/vnd.in-toto+json");
        Ok(all.into_iter().map(|(_, document)| document).collect())
    }
}

/// Lets independent validators check the provenance.
fn valid(provenance: &Value) -> Result<()> {
    let place = tempfile::tempdir()?;
    let file = place.path().join("provenance.json");
    fs::write(&file, provenance.to_string())?;
    let counts = attached::validate(&file)?;
    ensure!(counts["statement"] == 1, "{counts}");
    Ok(())
}
