//! Objects of other kinds than Deployments, and what servers refuse.

use crateyard_testing::need;
use serde_json::json;

use super::counts;
use super::place::{Place, deployment, service};

/// Every place in which objects of these kinds have images: several containers, init containers,
/// one image twice, a list, a custom resource with a name of the mapping, and templates of
/// templates.
const ALL: &str = "\
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: StatefulSet
  metadata: {name: store}
  spec:
    replicas: 1
    serviceName: store
    selector: {matchLabels: {app: store}}
    template:
      metadata: {labels: {app: store}}
      spec:
        initContainers:
        - {name: prepare, image: 'crateyard://app', args: [prepare]}
        containers:
        - {name: store, image: \"crateyard://store\"}
        - name: sidecar # the same image again
          image: crateyard://app
- apiVersion: apps/v1
  kind: DaemonSet
  metadata: {name: agent, namespace: other}
  spec:
    selector: {matchLabels: {app: agent}}
    template:
      metadata: {labels: {app: agent}}
      spec: {containers: [{name: agent, image: crateyard://app}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: 0 3 * * *
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: run, image: crateyard://app}]}}}}
---
apiVersion: example.org/v1
kind: Agent
metadata: {name: custom}
spec:
  image: registry.example/old/app:1.0 # by the mapping
  fallback: crateyard://store
";

#[test]
fn each_kind_gets_its_images() {
    need!("kinds of objects", "docker-registry", "kubectl");
    let mut place = Place::new(&["app", "store"]);
    place.write("manifests/all.yaml", ALL);
    let mapping = ["--map", "registry.example/old/app=app"];
    assert_eq!(counts(&place.deploy_json(&mapping))["created"], 4);
    let [app, store] = ["app", "store"].map(|name| place.reference(name));
    let at = |path: &str| place.cluster.get(path).unwrap();
    let set = at("/apis/apps/v1/namespaces/shop/statefulsets/store");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["initContainers"][0]["image"], app);
    assert_eq!(pod["containers"][0]["image"], store);
    assert_eq!(pod["containers"][1]["image"], app);
    let daemons = at("/apis/apps/v1/namespaces/other/daemonsets/agent");
    assert_eq!(
        daemons["spec"]["template"]["spec"]["containers"][0]["image"],
        app
    );
    assert!(daemons["spec"]["replicas"].is_null());
    let custom = at("/apis/example.org/v1/namespaces/shop/agents/custom");
    assert_eq!(custom["spec"], json!({ "image": app, "fallback": store }));
    assert_eq!(counts(&place.deploy_json(&mapping))["unchanged"], 4);

    // Another build touches each object that has it, and names each container.
    place.build("store", 50);
    place.cluster.written();
    let said = place.deploy(&mapping);
    let set = "/apis/apps/v1/namespaces/shop/statefulsets/store";
    let custom = "/apis/example.org/v1/namespaces/shop/agents/custom";
    assert_eq!(place.cluster.written(), [set, custom]);
    let wanted = format!(
        "  image of store: {store} -> {}\n",
        place.reference("store")
    );
    assert!(said.contains(&wanted), "{said}");
    place.build("app", 51);
    let said = place.deploy(&mapping);
    for container in ["prepare", "sidecar", "agent", "run"] {
        assert!(
            said.contains(&format!("  image of {container}: {app} -> ")),
            "{said}"
        );
    }
    assert!(!said.contains("image of store"), "{said}");
}

const JOB: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: run, image: crateyard://app}]}}}
";

#[test]
fn a_job_is_created_anew_only_if_that_is_asked_for() {
    need!("jobs", "docker-registry", "kubectl");
    let mut place = Place::new(&["app", "web"]);
    place.write("manifests/job.yaml", JOB);
    place.write("manifests/web.yaml", &service("web"));
    place.deploy(&[]);
    let before = place.reference("app");
    place.build("app", 60);
    place.build("web", 61);
    place.cluster.written();
    let path = "/apis/batch/v1/namespaces/shop/jobs/migrate";
    let image = |place: &Place| {
        let job = place.cluster.get(path).unwrap();
        job["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let refused = |more: &[&str], wanted: &str| {
        let arguments = [&["deploy", "-f", "manifests"], more].concat();
        let (_, error) = place.expect(false, &arguments);
        assert!(error.contains(wanted), "{error}");
        assert_eq!(place.cluster.written(), [""; 0]);
    };
    refused(&[], "--recreate-jobs");
    place.cluster.report(path, "active", json!(1));
    refused(&["--recreate-jobs"], "job/migrate in shop is still running");
    place.cluster.report(path, "active", json!(0));

    let plan = place.deploy(&["--recreate-jobs", "--dry-run"]);
    let wanted = format!(
        "would recreate job/migrate in shop\n  image of run: {before} -> {}\n",
        place.reference("app")
    );
    assert!(plan.contains(&wanted), "{plan}");
    assert!(plan.contains("would update deployment/web"), "{plan}");
    assert_eq!(place.cluster.written(), [""; 0]);
    place.deploy(&["--recreate-jobs"]);
    assert_eq!(image(&place), place.reference("app"));
    let again = counts(&place.deploy_json(&["--recreate-jobs"]));
    assert_eq!(again["unchanged"], 3);
    place.deploy(&["--rollback", "--recreate-jobs"]);
    assert_eq!(image(&place), before);
}

#[test]
fn a_refused_object_leaves_all_others_as_they_are() {
    need!("refused objects", "docker-registry", "kubectl");
    let place = Place::new(&["app", "web"]);
    place.write("manifests/app.yaml", &service("app"));
    let refused = |wanted: &str| {
        let (_, error) = place.expect(false, &["deploy", "-f", "manifests"]);
        assert!(error.contains(wanted), "{error}");
        assert_eq!(place.cluster.written(), [""; 0]);
    };
    // All of them are new.
    place.write(
        "manifests/web.yaml",
        &service("web").replace("replicas: 2", "replicas: -1"),
    );
    refused("must be greater than or equal to 0");
    // The name of an object is no reason.
    let named = service("web").replace("  name: web\n", "  name: immutable-conflict\n");
    let named = named.replace("replicas: 2", "replicas: -1");
    place.write("manifests/web.yaml", &named);
    let (_, error) = place.expect(false, &["deploy", "-f", "manifests"]);
    assert!(error.contains("immutable-conflict"), "{error}");
    for other in ["allows no change", "another manager"] {
        assert!(!error.contains(other), "{error}");
    }
    place.write("manifests/web.yaml", &service("app"));
    refused("describe deployment/app in shop twice");
    place.cluster.lacks("stage");
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: stage}\n";
    place.write("manifests/web.yaml", config);
    refused("namespaces \"stage\" not found");
}

#[test]
fn a_namespace_comes_before_what_is_in_it() {
    need!("new namespaces", "docker-registry", "kubectl");
    let place = Place::new(&["app"]);
    place.cluster.lacks("shop");
    place.write("manifests/a.yaml", &service("app"));
    place.write(
        "manifests/z.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    );
    assert_eq!(counts(&place.deploy_json(&[]))["created"], 3);
    assert_eq!(place.cluster.written()[0], "/api/v1/namespaces/shop");
}

#[test]
fn only_a_namespace_of_the_core_group_holds_objects() {
    need!("other kinds of namespaces", "docker-registry", "kubectl");
    let mut place = Place::new(&["app"]);
    place.write("manifests/app.yaml", &service("app"));
    place.deploy(&[]);
    let other = "apiVersion: example.org/v1\nkind: Namespace\nmetadata: {name: shop}\n";
    place.write("manifests/z.yaml", other);
    place.build("app", 63);
    place.cluster.written();
    let said = counts(&place.deploy_json(&[]));
    assert_eq!((said["updated"], said["created"]), (1, 1));
    let own = "/apis/example.org/v1/namespaces/shop/spaces/shop";
    assert_eq!(place.cluster.written(), [deployment("app").as_str(), own]);
    assert_eq!(place.running("app"), place.reference("app"));
}
