//! Objects as servers return them: differences, applied fields, and rollbacks.

use crateyard_deploy::cluster::{self, Change, Key, plan, rollback, with_kept, with_record};
use serde_json::{Value, json};

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "app", "namespace": "shop" },
        "spec": { "replicas": 2, "template": { "spec": { "containers": [
            { "name": "app", "image": image, "env": [{ "name": "A", "value": "1" }] },
        ] } } },
    })
}

/// Adds the fields of a server: defaults, another container, and the owners of fields.
fn served(image: &str, time: &str) -> Value {
    let mut object = deployment(image);
    object["spec"]["revisionHistoryLimit"] = json!(10);
    let containers = &mut object["spec"]["template"]["spec"]["containers"];
    containers[0]["imagePullPolicy"] = json!("IfNotPresent");
    containers
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "name": "mesh", "image": "mesh:1" }));
    object["metadata"]["uid"] = json!("1");
    object["metadata"]["managedFields"] = json!([
        { "manager": "mesh", "operation": "Update", "time": "2030-01-01T00:00:00Z",
            "fieldsV1": {} },
        { "manager": "crateyard", "operation": "Apply", "time": time, "fieldsV1": {
            "f:spec": { "f:replicas": {}, "f:template": { "f:spec": { "f:containers": {
                "k:{\"name\":\"app\"}": { ".": {}, "f:name": {}, "f:image": {}, "f:env": {
                    "k:{\"name\":\"A\"}": { ".": {}, "f:name": {}, "f:value": {} },
                } },
            } } } },
        } },
    ]);
    object["status"] = json!({ "replicas": 2 });
    object
}

fn none() -> std::collections::BTreeSet<Key> {
    std::collections::BTreeSet::new()
}

fn previous_of(object: &Value) -> Value {
    let text = object["metadata"]["annotations"][cluster::ANNOTATION]
        .as_str()
        .unwrap();
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_the_server_adds_is_no_difference() {
    let live = served("app:1", "2026-01-01T00:00:00Z");
    let mut would = live.clone();
    would["metadata"]["managedFields"] = json!([]);
    would["metadata"]["resourceVersion"] = json!("9");
    let steps = plan(vec![deployment("app:1")], &[live], &[would], &none()).unwrap();
    assert_eq!(steps[0].change, Change::None);
}

#[test]
fn images_and_other_fields_are_told_apart() {
    let live = served("app:1", "2026-01-01T00:00:00Z");
    let mut would = served("app:2", "2026-01-01T00:00:00Z");
    would["spec"]["replicas"] = json!(3);
    let steps = plan(vec![deployment("app:2")], &[live], &[would], &none()).unwrap();
    let Change::Update { images, fields } = &steps[0].change else {
        panic!("{:?}", steps[0].change);
    };
    assert_eq!(images.len(), 1);
    assert_eq!(
        (images[0].container.as_str(), images[0].before.as_str()),
        ("app", "app:1")
    );
    assert_eq!(images[0].after, "app:2");
    assert_eq!(fields, &["spec.replicas"]);
    let missing = plan(vec![deployment("app:2")], &[], &[], &none()).unwrap();
    assert_eq!(missing[0].change, Change::Create);
}

#[test]
fn the_record_is_what_was_applied_and_not_what_others_did() {
    let live = served("app:1", "2026-01-01T00:00:00Z");
    let applied = with_record(deployment("app:2"), Some(&live), "d1");
    let record = previous_of(&applied);
    assert_eq!(record["deployment"], "d1");
    assert_eq!(record["previous"], deployment("app:1"));
    // An unchanged object keeps its record.
    let mut next = live.clone();
    next["metadata"]["annotations"] = applied["metadata"]["annotations"].clone();
    let kept = with_kept(deployment("app:2"), &next);
    assert_eq!(kept["metadata"], applied["metadata"]);
}

#[test]
fn what_another_manager_applied_is_restored_by_its_shape() {
    let mut live = served("app:1", "2026-01-01T00:00:00Z");
    live["metadata"]["managedFields"] = json!([]);
    let applied = with_record(deployment("app:2"), Some(&live), "d1");
    let previous = &previous_of(&applied)["previous"];
    let containers = previous["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers[1]["image"], "app:1");
    assert!(previous["spec"]["revisionHistoryLimit"].is_null());
    assert!(previous["metadata"]["uid"].is_null());
}

#[test]
fn a_secret_is_never_written_into_an_annotation() {
    let secret = |value: &str| {
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
            "stringData": { "a": value } })
    };
    let applied = with_record(secret("new"), Some(&secret("c2VjcmV0")), "d1").to_string();
    assert!(!applied.contains("c2VjcmV0"), "{applied}");
}

#[test]
fn the_last_deployment_is_rolled_back_and_no_other() {
    let at = |name: &str, image: &str, time: &str, id: &str| {
        let mut object = with_record(served(image, time), Some(&served("app:0", time)), id);
        object["metadata"]["name"] = json!(name);
        object
    };
    let live = [
        at("one", "app:1", "2026-01-02T00:00:00Z", "second"),
        at("two", "app:1", "2026-01-01T00:00:00Z", "first"),
        at("three", "app:1", "2026-01-02T00:00:01Z", "second"),
    ];
    let found = rollback(&live);
    let names: Vec<&str> = found.iter().map(|one| one.key.name.as_str()).collect();
    assert_eq!(names, ["one", "three"]);
    let previous = found[0].previous.as_ref().unwrap();
    assert_eq!(previous["spec"], deployment("app:0")["spec"]);
    assert!(rollback(&[served("app:1", "x")]).is_empty());
}

#[test]
fn objects_come_as_lists_and_as_streams() {
    let text = cluster::list([&deployment("a"), &deployment("b")]);
    assert_eq!(cluster::objects(&text).unwrap().len(), 2);
    let stream = format!("{}\n{}", deployment("a"), text);
    assert_eq!(cluster::objects(&stream).unwrap().len(), 3);
    assert_eq!(cluster::objects("").unwrap().len(), 0);
    let one = cluster::objects(&deployment("a").to_string()).unwrap();
    assert_eq!(one, [deployment("a")]);
    let key = Key::of(&deployment("a")).unwrap();
    assert_eq!(key.to_string(), "deployment/app in shop");
    assert_eq!(key.resource(), "deployment.apps/app");
}

#[test]
fn an_object_without_an_answer_of_the_server_is_an_error() {
    let live = served("app:1", "2026-01-01T00:00:00Z");
    let error = plan(vec![deployment("app:2")], &[live], &[], &none()).unwrap_err();
    assert!(error.contains("deployment/app in shop"), "{error}");
}

#[test]
fn a_refused_job_always_changes() {
    // Another manager applied it, so nothing records that it had a command.
    let job = |container: Value| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "migrate" },
            "spec": { "template": { "spec": { "containers": [container] } } },
        })
    };
    let live = job(json!({ "name": "run", "image": "app:1", "command": ["migrate"] }));
    let wanted = job(json!({ "name": "run", "image": "app:1" }));
    let refused = Key::of(&live).into_iter().collect();
    let steps = plan(vec![wanted], &[live], &[], &refused).unwrap();
    let Change::Update { fields, .. } = &steps[0].change else {
        panic!("{:?}", steps[0].change);
    };
    assert_eq!(fields, &["spec.template"]);
    assert!(steps[0].recreate);
}

#[test]
fn only_the_core_groups_namespaces_come_first() {
    let object = |version: &str, kind: &str| {
        json!({ "apiVersion": version, "kind": kind,
            "metadata": { "name": "shop" } })
    };
    let ordered = cluster::in_order(vec![
        object("example.org/v1", "Namespace"),
        object("v1", "Secret"),
        object("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        object("v1", "Namespace"),
    ]);
    let versions = ordered.iter().map(|object| object["apiVersion"].as_str());
    let versions: Vec<&str> = versions.flatten().collect();
    assert_eq!(
        versions,
        ["v1", "apiextensions.k8s.io/v1", "example.org/v1", "v1"]
    );
}
