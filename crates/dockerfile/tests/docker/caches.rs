//! Caches in a registry.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use crate::build::*;
use crate::fixture;
use tempfile::TempDir;

/// A registry that the engine reaches. It ends on drop.
struct Registry {
    process: Child,
    address: String,
    directory: TempDir,
}

impl Registry {
    /// Starts a registry where the engine runs. The tests' own engine has its own network, which
    /// `ENGINE_NETWORK` names.
    fn start() -> Result<Registry, String> {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port()?);
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n",
            directory.path().display()
        );
        fs::write(&config, text).unwrap();
        let process = where_the_engine_is("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("there is no docker-registry: {error}"))?;
        Ok(Registry {
            process,
            address,
            directory,
        })
    }

    /// Returns the tags of a repository, read from the registry's files.
    fn tags(&self, repository: &str) -> BTreeSet<String> {
        let tags = format!("docker/registry/v2/repositories/{repository}/_manifests/tags");
        let entries = fs::read_dir(self.directory.path().join(tags)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A process that ended by itself is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_pull_request_reads_mains_cache_and_writes_its_own() {
    let test = "a_pull_request_reads_mains_cache_and_writes_its_own";
    let Some(build) = build_or_skip(test) else {
        return;
    };
    let registry = match Registry::start() {
        Ok(registry) => registry,
        Err(reason) => return fixture::skipped(test, &reason),
    };
    let local = tempfile::tempdir().unwrap();
    let at = |kind: &str| match kind {
        "registry" => format!("{}/cache", registry.address),
        _ => local.path().display().to_string(),
    };
    let bake = |kind: &str, scope: &str| {
        let output = Command::new("docker")
            .args(["buildx", "bake", "--progress=plain"])
            .args(["--set=*.output=type=cacheonly", "gateway-bare"])
            .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
            .env("TOOLCHAIN", &build.toolchain)
            .env("VENDOR", build.vendor.path())
            .env("CACHE", kind)
            .env("CACHE_AT", at(kind))
            .env("CACHE_SCOPE", scope)
            .env("RECIPE", "0123")
            .current_dir(build.path())
            .output()
            .unwrap();
        let log = text_of(&output);
        assert!(output.status.success(), "{kind} {scope}: {log}");
        log
    };
    let name = |scope: &str| format!("{scope}-gateway-bare-linux-amd64-0123");
    for kind in ["registry", "local"] {
        bake(kind, "main");
        let log = bake(kind, "pr-7");
        let read = match kind {
            "registry" => format!(
                "importing cache manifest from {}:{}",
                at(kind),
                name("main")
            ),
            _ => "importing cache manifest from local:".to_string(),
        };
        assert!(log.contains(&read), "{kind}: {log}");
    }
    let both = BTreeSet::from([name("main"), name("pr-7")]);
    assert_eq!(registry.tags("cache"), both);
    let written = fs::read_dir(local.path()).unwrap();
    let written = written.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert_eq!(written.collect::<BTreeSet<String>>(), both);
}

/// Returns the plan that bake prints with these variables.
fn bake_plan(build: &Build, variables: &[(&str, &str)]) -> serde_json::Value {
    // The exporter needs the directory of its archives to exist.
    fs::create_dir_all(build.path().join(".crateyard/bundle")).unwrap();
    let output = Command::new("docker")
        .args(["buildx", "bake", "--print"])
        .args(["default", "outputs", "archives", "builder", "dependencies"])
        .envs(variables.iter().copied())
        .current_dir(build.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn caches_are_for_an_owner_a_target_a_platform_and_a_recipe() {
    let test = "caches_are_for_an_owner_a_target_a_platform_and_a_recipe";
    let Some(build) = build_or_skip(test) else {
        return;
    };
    let scope = |owner: &str, target: &str| format!("{owner}-{target}-linux-amd64-0123");
    for (kind, field, before) in [
        ("registry", "ref", "registry.example.org/cache:"),
        ("gha", "scope", ""),
    ] {
        let plan = bake_plan(
            &build,
            &[
                ("CACHE", kind),
                ("CACHE_AT", "registry.example.org/cache"),
                ("CACHE_SCOPE", "pr-7"),
                ("RECIPE", "0123"),
            ],
        );
        let gateway = &plan["target"]["gateway"];
        assert_eq!(gateway["tags"], serde_json::json!(["gateway:0.1.0"]));
        let named = |direction: &str| -> Vec<(String, String)> {
            let caches = gateway[direction].as_array().unwrap().iter();
            let text = |cache: &serde_json::Value, field: &str| {
                cache[field].as_str().unwrap_or_default().to_owned()
            };
            caches
                .map(|cache| (text(cache, "type"), text(cache, field)))
                .collect()
        };
        let wanted = |owner: &str, target: &str| {
            (kind.to_owned(), format!("{before}{}", scope(owner, target)))
        };
        assert_eq!(named("cache-to"), [wanted("pr-7", "gateway")]);
        assert_eq!(gateway["cache-to"][0]["mode"], "max");
        let read = [
            wanted("pr-7", "gateway"),
            wanted("main", "gateway"),
            wanted("pr-7", "dependencies"),
            wanted("main", "dependencies"),
        ];
        assert_eq!(named("cache-from"), read);
    }
}
