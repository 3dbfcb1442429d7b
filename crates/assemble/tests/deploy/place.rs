//! The machine of a person who deploys.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crateyard_testing::cluster::Cluster;
use crateyard_testing::{Layout, Registry};
use serde_json::Value;

/// A person's machine: a home, manifests, built images, a registry, a cluster.
pub(crate) struct Place {
    pub(crate) home: tempfile::TempDir,
    pub(crate) registry: Registry,
    pub(crate) cluster: Cluster,
    pub(crate) layouts: BTreeMap<String, Layout>,
}

impl Place {
    pub(crate) fn new(images: &[&str]) -> Place {
        let home = tempfile::tempdir().unwrap();
        let cluster = Cluster::start();
        cluster.write_config(&home.path().join("kubeconfig"), "shop");
        fs::create_dir(home.path().join("manifests")).unwrap();
        let mut place = Place {
            home,
            registry: Registry::start(),
            cluster,
            layouts: BTreeMap::new(),
        };
        for (at, image) in images.iter().enumerate() {
            place.build(image, at as u64);
        }
        place
    }

    /// Makes another build of an image.
    pub(crate) fn build(&mut self, image: &str, seed: u64) {
        let layout = Layout::with_sound_image(seed, 1000);
        self.layouts.insert(image.to_owned(), layout);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assemble"));
        command.args(arguments);
        command.args(["--to", &format!("{}/team/", self.registry.address)]);
        for (image, layout) in &self.layouts {
            let path = layout.path().display();
            command.arg(format!("--layout={image}={path}"));
        }
        command
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env_remove("DOCKER_CONFIG")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CACHE_HOME");
        command
    }

    /// Runs the command, expects success or failure, and returns its output and messages.
    #[track_caller]
    pub(crate) fn expect(&self, success: bool, arguments: &[&str]) -> (String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            output.status.success(),
            success,
            "{arguments:?}\n{out}\n{error}\n{:#?}",
            self.cluster.seen()
        );
        assert!(!(out.clone() + &error).contains("secret-token"));
        (out, error)
    }

    #[track_caller]
    pub(crate) fn deploy(&self, more: &[&str]) -> String {
        let arguments = [&["deploy", "-f", "manifests"], more].concat();
        self.expect(true, &arguments).0
    }

    #[track_caller]
    pub(crate) fn deploy_json(&self, more: &[&str]) -> Value {
        let more = [more, &["--json"]].concat();
        serde_json::from_str(&self.deploy(&more)).unwrap()
    }

    pub(crate) fn digest(&self, image: &str) -> String {
        let source = self.layouts[image].source();
        source.index().manifests[0].digest.to_string()
    }

    pub(crate) fn reference(&self, image: &str) -> String {
        format!(
            "{}/team/{image}@{}",
            self.registry.address,
            self.digest(image)
        )
    }

    pub(crate) fn running(&self, name: &str) -> String {
        let object = self.cluster.get(&deployment(name)).unwrap();
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap().to_owned()
    }
}

pub(crate) fn deployment(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/shop/deployments/{name}")
}

/// Returns a Deployment and a Service, as people write them.
pub(crate) fn service(name: &str) -> String {
    format!(
        "# The service {name}.\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: \
         {name}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: {name}}}\n  \
         template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      \
         containers:\n      - name: {name}\n        image: crateyard://{name} # by digest\n        \
         ports: [{{containerPort: 8080}}]\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: \
         {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    )
}

/// A directory at the front of PATH with a program that records its calls.
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) path: String,
}

impl Host {
    pub(crate) fn new(images: &[&str], program: &str, script: &str) -> Host {
        let place = Place::new(images);
        let bin = place.path("bin");
        fs::create_dir(&bin).unwrap();
        let calls = place.path("calls").display().to_string();
        let text = format!("#!/bin/sh\n{}\n", script.replace("CALLS", &calls));
        fs::write(bin.join(program), text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(bin.join(program), mode).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Host { place, path }
    }

    /// Deploys, and returns the calls that the program recorded.
    #[track_caller]
    pub(crate) fn deploy(&self, more: &[&str]) -> String {
        self.expect(true, more)
    }

    /// Deploys, expects success or failure, and returns the calls that the program recorded.
    #[track_caller]
    pub(crate) fn expect(&self, success: bool, more: &[&str]) -> String {
        self.say(success, more).0
    }

    /// Does the same, and returns the messages, too.
    #[track_caller]
    pub(crate) fn say(&self, success: bool, more: &[&str]) -> (String, String) {
        let mut command = self.place.command(&["deploy", "-f", "manifests"]);
        let output = command.args(more).env("PATH", &self.path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), success, "{said}");
        let calls = fs::read_to_string(self.place.path("calls")).unwrap_or_default();
        fs::write(self.place.path("calls"), "").unwrap();
        (calls, said)
    }
}
