//! The questions that a client asks a server before it asks for objects.

use serde_json::{Value, json};

/// Group and version, plural, kind, and whether the objects belong to namespaces. The last group is
/// that of custom resources. One of its kinds has the name of a kind of the core group.
const KINDS: [(&str, &str, &str, bool); 13] = [
    ("v1", "configmaps", "ConfigMap", true),
    ("v1", "namespaces", "Namespace", false),
    ("v1", "pods", "Pod", true),
    ("v1", "secrets", "Secret", true),
    ("v1", "serviceaccounts", "ServiceAccount", true),
    ("v1", "services", "Service", true),
    ("apps/v1", "daemonsets", "DaemonSet", true),
    ("apps/v1", "deployments", "Deployment", true),
    ("apps/v1", "statefulsets", "StatefulSet", true),
    ("batch/v1", "cronjobs", "CronJob", true),
    ("batch/v1", "jobs", "Job", true),
    ("example.org/v1", "agents", "Agent", true),
    ("example.org/v1", "spaces", "Namespace", true),
];

/// The groups of the kinds, without the core group.
const GROUPS: [&str; 3] = ["apps", "batch", "example.org"];

/// The path of the schemas of all kinds.
pub(super) const SCHEMAS: &str = "/openapi/v2";

/// Answers a question about the server itself, or returns nothing for objects.
pub(super) fn answer(path: &str) -> Option<Value> {
    Some(match path {
        "/version" => json!({ "major": "1", "minor": "32", "gitVersion": "v1.32.0" }),
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        "/apis" => {
            let groups = GROUPS.map(|name| {
                let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
                json!({ "name": name, "versions": [version], "preferredVersion": version })
            });
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        "/openapi/v3" => {
            let groups = GROUPS.map(|name| format!("apis/{name}/v1"));
            let all = groups.into_iter().chain(["api/v1".to_owned()]);
            let paths: serde_json::Map<String, Value> = all
                .map(|path| {
                    let url = format!("/openapi/v3/{path}");
                    (path, json!({ "serverRelativeURL": url }))
                })
                .collect();
            json!({ "paths": paths })
        }
        _ => match path.strip_prefix("/openapi/v3/") {
            Some(path) => parameters(version_of(path)?),
            None => resources(version_of(&path[1..])?),
        },
    })
}

/// Returns the group and version whose path this is.
fn version_of(path: &str) -> Option<&str> {
    if path == "api/v1" {
        return Some("v1");
    }
    let version = path.strip_prefix("apis/")?;
    GROUPS
        .contains(&version.strip_suffix("/v1")?)
        .then_some(version)
}

/// Returns the kind of a list's path.
pub(super) fn kind_of(path: &str) -> Option<&'static str> {
    let plural = path.rsplit('/').next()?;
    let found = KINDS.iter().find(|(_, one, ..)| *one == plural);
    found.map(|(_, _, kind, _)| *kind)
}

fn of(
    version: &str,
) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str, bool)> {
    let version = version.to_owned();
    KINDS.iter().filter(move |(own, ..)| *own == version)
}

fn resources(version: &str) -> Value {
    let resource = |(_, plural, kind, namespaced): &(&str, &str, &str, bool)| {
        json!({
            "name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced,
            "kind": kind,
            "verbs": ["create", "get", "list", "patch", "update", "watch"],
        })
    };
    let all: Vec<Value> = of(version).map(resource).collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": all })
}

/// Returns a schema which says that objects can be patched with a dry run and validated by the
/// server.
fn parameters(version: &str) -> Value {
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let mut paths = serde_json::Map::new();
    for (_, plural, kind, _) in of(version) {
        let patch = json!({
            "parameters": [{ "name": "dryRun", "in": "query" },
                { "name": "fieldValidation", "in": "query" }],
            "x-kubernetes-group-version-kind": { "group": group, "version": number, "kind": kind },
            "responses": {},
        });
        paths.insert(format!("/{plural}/{{name}}"), json!({ "patch": patch }));
    }
    json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.32.0" },
        "paths": paths })
}
