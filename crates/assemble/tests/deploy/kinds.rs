//! Objects of other kinds than Deployments, and what servers refuse.

use crateyard_testing::need;
use serde_json::json;

use super::counts;
use super::place::{Host, Place, deployment, service};

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
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: run, image: crateyard://app}]}
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

const MIGRATE: &str = "/apis/batch/v1/namespaces/shop/jobs/migrate";

impl Place {
    /// Sets the condition of a job, as its controller does.
    fn report(&self, path: &str, kind: &str) {
        let condition = json!([{ "type": kind, "status": "True" }]);
        self.cluster.report(path, "conditions", condition);
    }
}

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
    let path = MIGRATE;
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
    // Not yet observed, running, between two tries, and suspended.
    let unfinished = "job/migrate in shop has not finished";
    refused(&["--recreate-jobs"], unfinished);
    place.cluster.report(path, "active", json!(1));
    refused(&["--recreate-jobs"], unfinished);
    place.cluster.report(path, "active", json!(0));
    place.cluster.report(path, "failed", json!(1));
    refused(&["--recreate-jobs"], unfinished);
    place.report(path, "Suspended");
    refused(&["--recreate-jobs"], unfinished);
    place.report(path, "Failed");

    let plan = place.deploy(&["--recreate-jobs", "--dry-run"]);
    let wanted = format!(
        "would recreate job/migrate in shop\n  image of run: {before} -> {}\n",
        place.reference("app")
    );
    assert!(plan.contains(&wanted), "{plan}");
    assert!(plan.contains("would update deployment/web"), "{plan}");
    assert_eq!(place.cluster.written(), [""; 0]);
    let said = place.deploy_json(&["--recreate-jobs"]);
    assert_eq!(counts(&said)["recreated"], 1, "{said}");
    assert_eq!(image(&place), place.reference("app"));
    let again = counts(&place.deploy_json(&["--recreate-jobs"]));
    assert_eq!(again["unchanged"], 3);
    place.report(path, "Complete");
    place.deploy(&["--rollback", "--recreate-jobs"]);
    assert_eq!(image(&place), before);
}

#[test]
fn a_refused_job_is_never_unchanged() {
    need!("removed fields of jobs", "docker-registry", "kubectl");
    let place = Place::new(&["app"]);
    let image = "image: crateyard://app";
    let with_command = JOB.replace(image, &format!("{image}, command: [migrate]"));
    place.write("manifests/job.yaml", &with_command);
    place.deploy(&[]);
    place.report(MIGRATE, "Complete");
    place.write("manifests/job.yaml", JOB);
    let plan = place.deploy(&["--recreate-jobs", "--dry-run"]);
    let field = "spec.template.spec.containers[run].command";
    assert!(
        plan.contains("would recreate job/migrate in shop\n") && plan.contains(field),
        "{plan}"
    );
    place.deploy(&["--recreate-jobs"]);
    let job = place.cluster.get(MIGRATE).unwrap();
    assert!(job["spec"]["template"]["spec"]["containers"][0]["command"].is_null());
    assert_eq!(
        counts(&place.deploy_json(&["--recreate-jobs"]))["unchanged"],
        1
    );
}

#[test]
fn a_job_is_deleted_only_if_the_server_accepts_the_next_one() {
    need!("refused jobs", "docker-registry", "kubectl");
    let script = "echo \"$*\" >> CALLS\nPATH=${PATH#*:}\nexec kubectl \"$@\"";
    let mut host = Host::new(&["app"], "kubectl", script);
    host.place.write("manifests/job.yaml", JOB);
    host.deploy(&[]);
    host.place.report(MIGRATE, "Failed");
    host.place.build("app", 62);
    host.place.cluster.written();
    let wrong = JOB.replace("spec: {template", "spec: {parallelism: -1, template");
    host.place.write("manifests/job.yaml", &wrong);
    let (calls, error) = host.say(false, &["--recreate-jobs"]);
    for wanted in [
        "job/migrate in shop stays as it is",
        "migrate-anew",
        "must be greater than or equal to 0",
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    assert!(!calls.contains("delete"), "{calls}");
    assert_eq!(host.place.cluster.written(), [""; 0]);

    host.place.write("manifests/job.yaml", JOB);
    let calls = host.deploy(&["--recreate-jobs", "--timeout", "90s"]);
    let deletes = calls.lines().filter(|call| call.starts_with("delete "));
    let deletes: Vec<&str> = deletes.collect();
    assert_eq!(deletes.len(), 1, "{calls}");
    assert!(deletes[0].contains("job.batch/migrate --namespace=shop"));
    assert!(deletes[0].contains("--timeout=90s"), "{calls}");
    assert_eq!(host.place.cluster.written(), [MIGRATE, MIGRATE]);
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
