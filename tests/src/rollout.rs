//! `assemble deploy` of twenty services that Nix builds, to a registry and a cluster.

use crate::cache::parts::Registry;
use crate::checkout::{self, Checkout, assemble};
use crate::nix;
use crate::trial::trial_with;
use crate::workspaces::commit_all;
use anyhow::{Context, Result, ensure};
use crateyard_testing::cluster::Cluster;
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial_with(
        "deploy::one_edit_of_twenty_services_is_one_push_and_one_patch".to_owned(),
        &["docker-registry", "kubectl"],
        one_edit,
    )]
}

const SERVICES: usize = 20;
/// The service that is edited.
const EDITED: &str = "service-7";

/// A repository with twenty services, each with an image, a Deployment and a Service.
struct Shop {
    directory: TempDir,
    registry: Registry,
    cluster: Cluster,
    _crateyard: Checkout,
}

impl Shop {
    fn new() -> Result<Self> {
        let crateyard = Checkout::new()?;
        commit_all(crateyard.path())?;
        let shop = Self {
            directory: tempfile::tempdir()?,
            registry: Registry::start()?,
            cluster: Cluster::start(),
            _crateyard: crateyard,
        };
        let kubeconfig = shop.path().join("kubeconfig");
        shop.cluster.write_config(&kubeconfig, "shop");
        shop.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n",
        )?;
        let mut images = "version = 1\n".to_owned();
        for number in 0..SERVICES {
            let name = format!("service-{number}");
            images += &format!("\n[images.{name}]\nbinaries = [\"{name}\"]\n");
            shop.add(&name)?;
        }
        shop.write("images.toml", &images)?;
        let flake = format!(
            "{{\n  inputs.crateyard.url = \"git+file://{}\";\n  outputs = {{ self, crateyard }}: \
             crateyard.lib.mkFlake {{ src = self; }};\n}}\n",
            shop._crateyard.path().display()
        );
        shop.write("flake.nix", &flake)?;
        duct::cmd!("cargo", "generate-lockfile", "--quiet", "--offline")
            .dir(shop.path())
            .run()?;
        duct::cmd!("git", "init", "--quiet")
            .dir(shop.path())
            .run()?;
        duct::cmd!("git", "add", "--all").dir(shop.path()).run()?;
        let own = format!("git+file://{}", shop.path().display());
        nix::nix(&["flake", "lock", &own])?;
        commit_all(shop.path())?;
        Ok(shop)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        checkout::write(self.path(), file, text)
    }

    /// Adds a service's package and its manifest.
    fn add(&self, name: &str) -> Result<()> {
        let package =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        self.write(&format!("crates/{name}/Cargo.toml"), &package)?;
        let main = format!("fn main() {{\n    println!(\"{name}\");\n}}\n");
        self.write(&format!("crates/{name}/src/main.rs"), &main)?;
        let manifest = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  \
             selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata: {{labels: \
             {{app: {name}}}}}\n    spec:\n      containers:\n      - name: {name}\n        \
             image: crateyard://{name} # by digest\n---\napiVersion: v1\nkind: Service\nmetadata: \
             {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
        );
        self.write(&format!("manifests/{name}.yaml"), &manifest)
    }

    /// Deploys, and returns the report.
    fn deploy(&self) -> Result<Value> {
        let to = format!("{}/team/", self.registry.host);
        let deploy = duct::cmd!(
            assemble(),
            "deploy",
            "--file",
            "manifests",
            "--to",
            to,
            "--json"
        );
        let said = deploy
            .dir(self.path())
            .env("KUBECONFIG", self.path().join("kubeconfig"))
            .env("NIX_CONFIG", nix::configuration())
            .read()?;
        serde_json::from_str(&said).context("it says no JSON")
    }

    /// Returns the image that a service runs.
    fn running(&self, name: &str) -> String {
        let object = self.cluster.get(&deployment(name)).unwrap_or_default();
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap_or_default().to_owned()
    }
}

fn deployment(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/shop/deployments/{name}")
}

/// Returns the images that a run pushed.
fn pushed(report: &Value) -> BTreeSet<String> {
    let images = report["images"].as_object().into_iter().flatten();
    let sent = images.filter(|(_, image)| image["push"]["unchanged"] == false);
    sent.map(|(name, _)| name.clone()).collect()
}

/// Counts the objects with a change.
fn count(report: &Value, change: &str) -> usize {
    let objects = report["objects"].as_array().into_iter().flatten();
    objects.filter(|it| it["change"] == change).count()
}

/// After an edit of one service, its image alone is pushed, its Deployment alone is patched, and
/// the report names the edited file. The other 19 run the same digests.
fn one_edit() -> Result<()> {
    let shop = Shop::new()?;
    let first = shop.deploy()?;
    ensure!(pushed(&first).len() == SERVICES, "{first}");
    ensure!(count(&first, "created") == 2 * SERVICES, "{first}");
    shop.cluster.written();
    let names: Vec<String> = (0..SERVICES).map(|it| format!("service-{it}")).collect();
    let before: Vec<String> = names.iter().map(|name| shop.running(name)).collect();

    let file = format!("crates/{EDITED}/src/main.rs");
    shop.write(&file, "fn main() {\n    println!(\"edited\");\n}\n")?;
    let second = shop.deploy()?;
    ensure!(pushed(&second) == [EDITED.to_owned()].into(), "{second}");
    ensure!(count(&second, "updated") == 1, "{second}");
    ensure!(count(&second, "unchanged") == 2 * SERVICES - 1, "{second}");
    let written = shop.cluster.written();
    ensure!(written == [deployment(EDITED)], "{written:?}");
    ensure!(second.to_string().contains(&file), "no reason in {second}");
    for (name, before) in names.iter().zip(before) {
        let now = shop.running(name);
        ensure!((now == before) == (name != EDITED), "{name} runs {now}");
    }
    Ok(())
}
