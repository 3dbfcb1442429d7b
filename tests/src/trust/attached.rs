//! Everything that a push attaches, in the hands of validators that others wrote.

use super::scanners::{advisories, audit};
use super::validator;
use crate::cache::parts::Registry;
use crate::checkout::{assemble, repository};
use anyhow::{Context, Result, ensure};
use crateyard_testing::sigstore::{Sigstore, token};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.oci.image.index.v1+json";

/// The workflow that signs.
const WORKFLOW: &str = "team/shop/.github/workflows/release.yml@refs/tags/v1";

/// A key signs the image and all its documents, and then an identity does. Each document is there
/// plainly and in a bundle.
pub fn is_valid() -> Result<()> {
    let (registry, sigstore) = (Registry::start()?, Sigstore::start());
    let (data, place) = (advisories()?, tempfile::tempdir()?);
    let vex = place.path().join("vex");
    audit(data.path(), &["--vex", &vex.to_string_lossy()])?;
    let vex = vex.join("gateway-linux-amd64.openvex.json");
    let key = repository().join("crates/assemble/tests/keys/signer.pem");
    let (key, services) = (key.to_string_lossy().into_owned(), sigstore.url());
    let by_key = vec!["--sign-key", &*key];
    let by_identity = vec![
        "--keyless",
        "--fulcio-url",
        &*services,
        "--rekor-url",
        &*services,
    ];
    for (name, signer) in [("key", by_key), ("identity", by_identity)] {
        let (name, target) = (
            format!("team/{name}"),
            format!("{}/team/{name}:v1", registry.host),
        );
        let push = [
            "push", "gateway", "--json", "--attest", "--to", &target, "--vex",
        ];
        let vex = vex.to_string_lossy();
        let said = duct::cmd(assemble(), push.into_iter().chain([&*vex]).chain(signer))
            .env("SIGSTORE_ID_TOKEN", token(WORKFLOW))
            .dir(repository())
            .read()?;
        let said: Value = serde_json::from_str(&said)?;
        let digest = &said["images"][0]["digest"];
        let digest = digest.as_str().context("no digest")?;
        let counts = validate_all(&registry, &name, digest)?;
        let expected = json!({
            "bundle": 5, "cyclonedx": 1, "openvex": 1, "spdx": 1, "statement": 6,
            "https://cyclonedx.org/bom": 1,
            "https://openvex.dev/ns": 1,
            "https://sigstore.dev/cosign/sign/v1": 1,
            "https://slsa.dev/provenance/v1": 2,
            "https://spdx.dev/Document": 1,
        });
        ensure!(counts == expected, "{name}: {counts:#}");
    }
    Ok(())
}

/// Validates all documents about an image in a registry, and returns the number of each kind.
pub fn validate_all(registry: &Registry, repository: &str, digest: &str) -> Result<Value> {
    let place = tempfile::tempdir()?;
    let all = documents_about(registry, repository, digest)?;
    for (number, (_, document)) in all.iter().enumerate() {
        let file = place.path().join(format!("{number}.json"));
        fs::write(file, document.to_string())?;
    }
    validate(place.path())
}

/// Validates a document, or those in a directory, and returns the number of each kind.
pub fn validate(path: &Path) -> Result<Value> {
    let script = repository().join("tests/trust/validate.py");
    let output = duct::cmd!(validator("python")?, &script, path)
        .stdout_capture()
        .unchecked()
        .run()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "a validator complains: {said}");
    let counts = said.lines().last().context("it counts nothing")?;
    Ok(serde_json::from_str(counts)?)
}

/// Returns the documents that refer to an image, with their artifact types. Debian's registry lists
/// referrers under a tag.
pub fn documents_about(
    registry: &Registry,
    repository: &str,
    digest: &str,
) -> Result<Vec<(String, Value)>> {
    let get = |path: &str| -> Result<Value> {
        let url = format!("http://{}/v2/{repository}/{path}", registry.host);
        let accept = format!("Accept: {MANIFESTS}");
        let text = duct::cmd!("curl", "--silent", "--fail", "-H", accept, url).read()?;
        Ok(serde_json::from_str(&text)?)
    };
    let referrers = get(&format!("manifests/{}", digest.replace(':', "-")))?;
    let manifests = referrers["manifests"].as_array().context("no referrers")?;
    let documents = manifests.iter().map(|found| {
        let digest = found["digest"].as_str().unwrap_or_default();
        let manifest = get(&format!("manifests/{digest}"))?;
        let layer = manifest["layers"][0]["digest"].as_str();
        let document = get(&format!("blobs/{}", layer.context("no document")?))?;
        let kind = found["artifactType"].as_str().unwrap_or_default();
        Ok((kind.to_owned(), document))
    });
    documents.collect()
}
