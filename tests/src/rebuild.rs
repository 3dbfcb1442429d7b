//! Witnesses: an image is built again from its provenance alone, and the differences are shown.

use crate::cache::parts::Registry;
use crate::checkout::{Checkout, assemble, git, repository};
use crate::trial::trial_with;
use crate::trust::attached;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial_with(
        "trust::a_witness_builds_the_same_or_shows_what_differs".to_owned(),
        &["docker-registry", "git", "curl", "python3"],
        rebuilds,
    )]
}

/// The type of a witness's statement.
const STATEMENT: &str = "https://github.com/crateyard/crateyard/rebuild/v1";

const KEYS: &str = "crates/assemble/tests/keys";

struct World {
    checkout: Checkout,
    registry: Registry,
    commit: String,
}

impl World {
    /// Makes a commit that adds a file to the supervisor's image.
    fn new() -> Result<World> {
        let (checkout, registry) = (Checkout::new()?, Registry::start()?);
        checkout.write("deploy/note", "honest\n")?;
        let image = "[images.supervisor]\n";
        let files = "files = [{ source = \"deploy/note\", path = \"/etc/note\" }]\n";
        checkout.replace("images.toml", image, &format!("{image}{files}"))?;
        let who = ["-c", "user.name=t", "-c", "user.email=t@example"];
        let commit = [&who[..], &["commit", "--quiet", "--all", "-m", "a note"]].concat();
        git(checkout.path(), &commit)?;
        let commit = git(checkout.path(), &["rev-parse", "HEAD"])?;
        Ok(World {
            commit: commit.trim().to_owned(),
            checkout,
            registry,
        })
    }

    fn reference(&self, tag: &str) -> String {
        format!("{}/team/supervisor:{tag}", self.registry.host)
    }

    /// Builds the checkout's current state, and pushes it as a person does, and then as a CI job
    /// for the commit does.
    fn push(&self, tag: &str) -> Result<()> {
        let target = self.reference(tag);
        let push = duct::cmd!(assemble(), "push", "supervisor", "--to", target, "--attest");
        let push = push.dir(self.checkout.path()).stdout_null();
        push.env_remove("GITHUB_ACTIONS").run()?;
        push.env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY", "team/shop")
            .env(
                "GITHUB_WORKFLOW_REF",
                "team/shop/.github/workflows/a.yml@refs/tags/v1",
            )
            .env("GITHUB_SHA", &self.commit)
            .env("GITHUB_REF", "refs/tags/v1")
            .run()?;
        Ok(())
    }

    /// Builds an image again from a copy of the repository. Returns whether it is the same, and the
    /// messages.
    fn rebuild(&self, tag: &str) -> Result<(bool, Value)> {
        let target = self.reference(tag);
        let (from, key) = (
            self.checkout.path(),
            repository().join(KEYS).join("signer.pem"),
        );
        let rebuild = duct::cmd!(
            assemble(),
            "rebuild",
            target,
            "--repository",
            from,
            "--sign-key",
            key,
            "--json"
        );
        // The command runs elsewhere, so that it can read nothing of the checkout but its commits.
        let elsewhere = tempfile::tempdir()?;
        let output = rebuild
            .dir(elsewhere.path())
            .stdout_capture()
            .unchecked()
            .run()?;
        let said: Value = serde_json::from_slice(&output.stdout).context("it says no JSON")?;
        Ok((output.status.success(), said[0].clone()))
    }

    fn verify(&self, tag: &str) -> Result<bool> {
        let key = repository().join(KEYS).join("signer.pub");
        let target = self.reference(tag);
        let verify = duct::cmd!(
            assemble(),
            "verify",
            target,
            "--witnesses",
            "1",
            "--witness-key",
            key
        );
        Ok(verify.unchecked().run()?.status.success())
    }
}

fn rebuilds() -> Result<()> {
    let world = World::new()?;
    world.push("v1")?;
    ensure!(!world.verify("v1")?, "nobody has built it again yet");
    let (same, said) = world.rebuild("v1")?;
    ensure!(same && said["same"] == true, "{said}");
    ensure!(said["digest"] == said["rebuilt"], "{said}");
    ensure!(world.verify("v1")?, "the witness has signed");
    let digest = said["digest"].as_str().unwrap_or_default();
    let counts = attached::validate_all(&world.registry, "team/supervisor", digest)?;
    ensure!(
        counts["bundle"] == 1 && counts[STATEMENT] == 1,
        "the witness's statement is not among {counts}"
    );

    // This image was not built from the commit that its provenance names.
    world.checkout.write("deploy/note", "hostile\n")?;
    world.push("v2")?;
    let (same, said) = world.rebuild("v2")?;
    ensure!(!same && said["same"] == false, "{said}");
    let differences = said["differences"].to_string();
    for part in [
        "source deploy/note: the commit has other content",
        "layers: 1 change",
        "/etc/note: 6 of 8 bytes differ, the first at 2: 73 74",
    ] {
        ensure!(differences.contains(part), "{part} is not in {differences}");
    }
    ensure!(!world.verify("v2")?, "the witness has objected");
    Ok(())
}
