//! The provenance that a run of a CI system attaches: parameters, times, and no secret.

use crate::cache::parts::Registry;
use crate::checkout::{Checkout, assemble, repository};
use crate::nix;
use crate::workspaces::small;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.oci.image.index.v1+json";

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

    fn push(&self, run: &str) -> Result<Value> {
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
        let said = push
            .dir(self.workspace.path())
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY", "team/shop")
            .env(
                "GITHUB_WORKFLOW_REF",
                "team/shop/.github/workflows/a.yml@refs/tags/v1",
            )
            .env("GITHUB_RUN_ID", run)
            .env("GITHUB_SHA", "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff")
            .env("GITHUB_REF", "refs/tags/v1")
            .env("GITHUB_EVENT_PATH", &self.event)
            .read()?;
        let said: Value = serde_json::from_str(&said)?;
        Ok(said["images"][0].clone())
    }

    /// Returns the provenance that refers to an image. Debian's registry lists referrers under a
    /// tag.
    fn provenance(&self, digest: &str) -> Result<Value> {
        let get = |path: &str| -> Result<Value> {
            let url = format!("http://{}/v2/team/shop/{path}", self.registry.host);
            let accept = format!("Accept: {MANIFESTS}");
            let text = duct::cmd!("curl", "--silent", "--fail", "-H", accept, url).read()?;
            Ok(serde_json::from_str(&text)?)
        };
        let referrers = get(&format!("manifests/{}", digest.replace(':', "-")))?;
        let manifests = referrers["manifests"].as_array().context("no referrers")?;
        let is_it = |it: &&Value| it["artifactType"] == "application/vnd.in-toto+json";
        let found = manifests.iter().find(is_it).context("no provenance")?;
        let digest = found["digest"].as_str().unwrap_or_default();
        let manifest = get(&format!("manifests/{digest}"))?;
        let layer = manifest["layers"][0]["digest"].as_str();
        get(&format!("blobs/{}", layer.context("no document")?))
    }
}

/// Lets independent validators check the provenance.
fn valid(provenance: &Value) -> Result<()> {
    let place = tempfile::tempdir()?;
    let file = place.path().join("provenance.json");
    fs::write(&file, provenance.to_string())?;
    let script = repository().join("tests/trust/validate.py");
    duct::cmd!(super::validator("python")?, script, file).run()?;
    Ok(())
}
