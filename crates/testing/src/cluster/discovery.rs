//! The questions that a client asks a server before it asks for objects.

use serde_json::{Value, json};

/// Group and version, plural, kind, and whether the objects belong to namespaces.
const KINDS: [(&str, &str, &str, bool); 6] = [
    ("v1", "configmaps", "ConfigMap", true),
    ("v1", "namespaces", "Namespace", false),
    ("v1", "pods", "Pod", true),
    ("v1", "secrets", "Secret", true),
    ("v1", "services", "Service", true),
    ("apps/v1", "deployments", "Deployment", true),
];

/// The path of the schemas of all kinds.
pub(super) const SCHEMAS: &str = "/openapi/v2";

/// Answers a question about the server itself, or returns nothing for objects.
pub(super) fn answer(path: &str) -> Option<Value> {
    Some(match path {
        "/version" => json!({ "major": "1", "minor": "32", "gitVersion": "v1.32.0" }),
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        "/apis" => {
            let version = json!({ "groupVersion": "apps/v1", "version": "v1" });
            let group =
                json!({ "name": "apps", "versions": [version], "preferredVersion": version });
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group] })
        }
        "/api/v1" => resources("v1"),
        "/apis/apps/v1" => resources("apps/v1"),
        "/openapi/v3" => json!({ "paths": {
            "api/v1": { "serverRelativeURL": "/openapi/v3/api/v1" },
            "apis/apps/v1": { "serverRelativeURL": "/openapi/v3/apis/apps/v1" },
        } }),
        "/openapi/v3/api/v1" => parameters("v1"),
        "/openapi/v3/apis/apps/v1" => parameters("apps/v1"),
        _ => return None,
    })
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
            "name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind,
            "verbs": ["create", "get", "list", "patch", "update", "watch"],
        })
    };
    let all: Vec<Value> = of(version).map(resource).collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all })
}

/// Returns a schema which says that objects can be patched with a dry run and validated by the
/// server.
fn parameters(version: &str) -> Value {
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let mut paths = serde_json::Map::new();
    for (_, plural, kind, _) in of(version) {
        let patch = json!({
            "parameters": [{ "name": "dryRun", "in": "query" }, { "name": "fieldValidation", "in": "query" }],
            "x-kubernetes-group-version-kind": { "group": group, "version": number, "kind": kind },
            "responses": {},
        });
        paths.insert(format!("/{plural}/{{name}}"), json!({ "patch": patch }));
    }
    json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.32.0" }, "paths": paths })
}
