//! Deploys to the API server of Kubernetes' own library, which keeps its objects in an etcd of
//! Debian's. It serves custom resources alone, so rollouts are tried with the stand-in.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crateyard_nix::process::end_with_parent;
use crateyard_testing::need;
use serde_json::{Value, json};

use super::counts;
use super::place::Place;

/// The time that server and client get to start and to agree.
const PATIENCE: Duration = Duration::from_secs(120);

/// A kind with pods' templates. Elements of the lists of containers have their names as keys.
const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: workloads.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Workload, plural: workloads, singular: workload}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              replicas: {type: integer, minimum: 0, default: 1}
              initContainers: &containers
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name, image]
                  properties:
                    name: {type: string}
                    image: {type: string}
                    imagePullPolicy: {type: string, default: IfNotPresent}
              containers: *containers
";

const WORKLOADS: &str = "\
# One image twice.
apiVersion: example.org/v1
kind: Workload
metadata: {name: app}
spec:
  replicas: 2
  initContainers: [{name: prepare, image: crateyard://app}]
  containers:
  - name: app
    image: crateyard://app # by digest
  - {name: other, image: crateyard://other}
---
apiVersion: example.org/v1
kind: Workload
metadata: {name: second, namespace: elsewhere}
spec: {containers: [{name: other, image: crateyard://other}]}
";

/// The server and its etcd. They end with this value, or with the thread of a test that is killed.
struct Server {
    children: Vec<Child>,
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Finds free ports. It holds each until it has all, so that they differ.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners
        .each_ref()
        .map(|listener| listener.local_addr().unwrap().port())
}

#[track_caller]
fn until(what: &str, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(200));
    }
}

impl Server {
    /// Starts both, defines the kind, and writes a kubeconfig for the server.
    fn start(place: &Place) -> Server {
        let mut server = Server {
            children: Vec::new(),
            directory: tempfile::tempdir().unwrap(),
        };
        let [client, peer, port] = free_ports();
        let [client_url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let data = server.directory.path().join("etcd").display().to_string();
        server.spawn(
            "etcd",
            &[
                "--data-dir",
                &data,
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
                "--listen-peer-urls",
                &peer_url,
            ],
        );
        until("etcd does not listen", || {
            TcpStream::connect(("127.0.0.1", client)).is_ok()
        });
        let files = server.directory.path().display().to_string();
        server.spawn("api-server", &[&client_url, &port.to_string(), &files]);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{ "name": "here", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true,
            } }],
            "users": [{ "name": "me", "user": { "token": "secret-token" } }],
            "contexts": [{ "name": "here", "context": {
                "cluster": "here", "user": "me", "namespace": "shop",
            } }],
        });
        place.write("kubeconfig", &config.to_string());
        place.write("definition.yaml", DEFINITION);
        until("the kind is not served", || {
            kubectl(place, &["apply", "--server-side", "-f", "definition.yaml"]).is_some()
                && kubectl(place, &["get", "workloads"]).is_some()
        });
        server
    }

    /// Starts a program, with its messages in a file.
    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let log = self.directory.path().join(format!("{program}.log"));
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null());
        command.stderr(fs::File::create(log).unwrap());
        end_with_parent(&mut command);
        self.children.push(command.spawn().unwrap());
    }

    /// Whether a key was ever written into etcd, by its log of writes, which holds keys as they
    /// are.
    fn wrote(&self, key: &str) -> bool {
        let log = self.directory.path().join("etcd/member/wal");
        let files = fs::read_dir(log).unwrap().flatten();
        let mut texts = files.map(|file| fs::read(file.path()).unwrap());
        texts.any(|text| text.windows(key.len()).any(|found| found == key.as_bytes()))
    }
}

/// Runs kubectl, and returns its output if it succeeds.
fn kubectl(place: &Place, arguments: &[&str]) -> Option<String> {
    let output = Command::new("kubectl")
        .args(arguments)
        .current_dir(place.home.path())
        .env("HOME", place.home.path())
        .env("KUBECONFIG", place.path("kubeconfig"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

fn spec(place: &Place, name: &str, namespace: &str) -> Value {
    let arguments = [
        "get",
        "workload",
        name,
        "--namespace",
        namespace,
        "-o",
        "json",
    ];
    let object: Value = serde_json::from_str(&kubectl(place, &arguments).unwrap()).unwrap();
    object["spec"].clone()
}

#[test]
fn kubernetes_own_server_agrees() {
    need!(
        "Kubernetes' own API server",
        "docker-registry",
        "kubectl",
        "etcd",
        "api-server"
    );
    let mut place = Place::new(&["app", "other"]);
    let server = Server::start(&place);
    place.write("manifests/all.yaml", WORKLOADS);
    let plan = place.deploy(&["--dry-run"]);
    assert!(
        plan.contains("would create workload/app in shop\n"),
        "{plan}"
    );
    assert_eq!(counts(&place.deploy_json(&[]))["created"], 2);
    let kept = "/registry/apiextensions.kubernetes.io/example.org/workloads";
    for there in ["shop/app", "elsewhere/second"] {
        assert!(server.wrote(&format!("{kept}/{there}")), "{there}");
    }
    assert!(!server.wrote(&format!("{kept}/shop/second")));
    assert_eq!(counts(&place.deploy_json(&[]))["unchanged"], 2);
    let [app, other] = ["app", "other"].map(|name| place.reference(name));
    let now = spec(&place, "app", "shop");
    assert_eq!(now["containers"][1]["image"], other);
    assert_eq!(now["containers"][0]["imagePullPolicy"], "IfNotPresent");

    // Another build, and back.
    place.build("app", 70);
    let edited = place.deploy_json(&[]);
    assert_eq!(
        (counts(&edited)["updated"], counts(&edited)["unchanged"]),
        (1, 1)
    );
    let now = spec(&place, "app", "shop");
    assert_eq!(now["initContainers"][0]["image"], place.reference("app"));
    assert_eq!(now["containers"][0]["image"], place.reference("app"));
    place.deploy(&["--rollback"]);
    assert_eq!(spec(&place, "app", "shop")["containers"][0]["image"], app);
    place.deploy(&["--rollback"]);
    assert_eq!(counts(&place.deploy_json(&[]))["unchanged"], 2);

    // A field that somebody changed by hand is theirs, and so is a container that a mesh added.
    let patch = [
        "patch",
        "workload",
        "app",
        "--type=merge",
        "--field-manager=kubectl-edit",
    ];
    let patch = [&patch[..], &["--patch", "{\"spec\":{\"replicas\":7}}"]].concat();
    kubectl(&place, &patch).unwrap();
    let (_, error) = place.expect(false, &["deploy", "-f", "manifests"]);
    assert!(
        error.contains("kubectl-edit") && error.contains(".spec.replicas"),
        "{error}"
    );
    assert_eq!(spec(&place, "app", "shop")["replicas"], 7);
    place.deploy(&["--force-conflicts"]);
    assert_eq!(spec(&place, "app", "shop")["replicas"], 2);
    let mesh = json!({
        "apiVersion": "example.org/v1", "kind": "Workload", "metadata": { "name": "app" },
        "spec": { "containers": [{ "name": "mesh", "image": "mesh:1" }] },
    });
    place.write("mesh.json", &mesh.to_string());
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=mesh",
        "-f",
        "mesh.json",
    ];
    kubectl(&place, &apply).unwrap();
    place.build("other", 71);
    assert_eq!(counts(&place.deploy_json(&[]))["updated"], 2);
    let now = spec(&place, "app", "shop");
    assert_eq!(now["containers"].as_array().unwrap().len(), 3, "{now}");

    // The server refuses one of two objects, and neither changes.
    let wrong = WORKLOADS
        .replace("replicas: 2", "replicas: -1")
        .replace("name: second", "name: third");
    place.write("manifests/all.yaml", &wrong);
    let (_, error) = place.expect(false, &["deploy", "-f", "manifests"]);
    assert!(error.contains("greater than or equal to 0"), "{error}");
    assert!(!server.wrote(&format!("{kept}/elsewhere/third")));
}
