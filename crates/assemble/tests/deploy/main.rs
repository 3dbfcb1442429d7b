//! Tests `assemble resolve` and `assemble deploy` as people run them, with the real kubectl and a
//! real registry.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crateyard_testing::cluster::BROKEN;
use crateyard_testing::{Layout, need};
use serde_json::{Value, json};

mod api_server;
mod kinds;
mod place;
mod readers;

use place::{Host, Place, deployment, service};

/// The number of services in the large test.
const SERVICES: usize = 20;

fn counts(report: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for object in report["objects"].as_array().unwrap() {
        let change = object["change"].as_str().unwrap().to_owned();
        *counts.entry(change).or_insert(0) += 1;
    }
    counts
}

fn pushed(report: &Value) -> Vec<String> {
    let images = report["images"].as_object().unwrap().iter();
    let sent = images.filter(|(_, image)| image["push"]["unchanged"] == false);
    sent.map(|(name, _)| name.clone()).collect()
}

#[test]
fn one_edit_of_twenty_services_is_one_push_and_one_patch() {
    need!("deploy of twenty services", "docker-registry", "kubectl");
    let names: Vec<String> = (0..SERVICES).map(|at| format!("service-{at}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut place = Place::new(&all);
    for name in &names {
        place.write(&format!("manifests/{name}.yaml"), &service(name));
    }
    let first = place.deploy_json(&[]);
    assert_eq!(
        counts(&first),
        [("created".to_owned(), 2 * SERVICES)].into()
    );
    assert_eq!(pushed(&first).len(), SERVICES);
    assert_eq!(place.cluster.written().len(), 2 * SERVICES);

    // Without an edit, nothing is sent or touched.
    let again = place.deploy_json(&[]);
    assert_eq!(
        counts(&again),
        [("unchanged".to_owned(), 2 * SERVICES)].into()
    );
    assert_eq!(pushed(&again), [""; 0]);
    assert_eq!(place.cluster.written(), [""; 0]);

    let before = place.reference("service-7");
    place.build("service-7", 1000);
    let plan = place.deploy(&["--dry-run"]);
    assert!(
        plan.contains("would update deployment/service-7 in shop\n"),
        "{plan}"
    );
    assert!(
        plan.contains(&format!("{before} -> {}", place.reference("service-7"))),
        "{plan}"
    );
    assert_eq!(place.cluster.written(), [""; 0]);
    assert_eq!(place.running("service-7"), before);

    let edited = place.deploy_json(&[]);
    assert_eq!(pushed(&edited), ["service-7"]);
    let expected = [
        ("unchanged".to_owned(), 2 * SERVICES - 1),
        ("updated".to_owned(), 1),
    ];
    assert_eq!(counts(&edited), expected.into());
    assert_eq!(place.cluster.written(), [deployment("service-7")]);
    assert_eq!(place.running("service-7"), place.reference("service-7"));
}

#[test]
fn a_rollback_restores_the_last_deployment_alone() {
    need!("rollback", "docker-registry", "kubectl");
    let mut place = Place::new(&["one", "two"]);
    for name in ["one", "two"] {
        place.write(&format!("manifests/{name}.yaml"), &service(name));
    }
    place.deploy(&[]);
    let first = place.reference("one");
    place.build("one", 10);
    place.deploy(&[]);
    place.build("two", 11);
    let two = place.running("two");
    // A deployment may change fields other than images.
    let edited = service("two").replace("replicas: 2", "replicas: 5");
    place.write("manifests/two.yaml", &edited);
    place.deploy(&[]);
    place.cluster.written();

    let plan = place.deploy(&["--rollback", "--dry-run"]);
    assert!(plan.contains("would update deployment/two"), "{plan}");
    assert_eq!(place.cluster.written(), [""; 0]);
    place.deploy(&["--rollback"]);
    assert_eq!(place.cluster.written(), [deployment("two")]);
    assert_eq!(place.running("two"), two);
    let object = place.cluster.get(&deployment("two")).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    assert_ne!(
        place.running("one"),
        first,
        "the deployment before it stays"
    );
    // The next rollback restores the new version.
    place.deploy(&["--rollback"]);
    assert_eq!(place.running("two"), place.reference("two"));
    // The next deployment finds nothing to do.
    assert_eq!(counts(&place.deploy_json(&[]))["unchanged"], 4);
}

#[test]
fn what_others_own_stays_theirs() {
    need!("other managers", "docker-registry", "kubectl");
    let mut place = Place::new(&["app"]);
    place.write("manifests/app.yaml", &service("app"));
    place.deploy(&[]);
    let path = deployment("app");
    // Another container, and a number of replicas that the manifest also has.
    let container = json!({ "name": "mesh", "image": "mesh:1" });
    let mesh = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    place.cluster.write_as("mesh", &path, &mesh);
    place.build("app", 20);
    place.deploy(&[]);
    let object = place.cluster.get(&path).unwrap();
    let containers = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 2, "{containers:?}");
    place.deploy(&["--rollback"]);
    let object = place.cluster.get(&path).unwrap();
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][1]["name"],
        "mesh"
    );

    place
        .cluster
        .write_as("autoscaler", &path, &json!({ "spec": { "replicas": 9 } }));
    place.cluster.written();
    let (_, error) = place.expect(false, &["deploy", "-f", "manifests"]);
    assert!(
        error.contains("autoscaler") && error.contains("--force-conflicts"),
        "{error}"
    );
    assert_eq!(place.cluster.written(), [""; 0]);
    place.deploy(&["--force-conflicts"]);
    let object = place.cluster.get(&path).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
}

#[test]
fn a_rollout_that_hangs_is_said_with_the_way_back() {
    need!("hanging rollout", "docker-registry", "kubectl");
    let place = Place::new(&[BROKEN]);
    place.write("manifests/app.yaml", &service(BROKEN));
    let (_, error) = place.expect(false, &["deploy", "-f", "manifests", "--timeout", "2s"]);
    assert!(
        error.contains("is not rolled out") && error.contains("--rollback"),
        "{error}"
    );
    // A second run changes nothing, and does not claim that all is well.
    place.cluster.written();
    let (_, error) = place.expect(false, &["deploy", "-f", "manifests", "--timeout", "2s"]);
    assert!(error.contains("is not rolled out"), "{error}");
    assert_eq!(place.cluster.written(), [""; 0]);
    place.deploy(&["--timeout", "2s", "--no-wait"]);
}

#[test]
fn a_namespace_is_for_objects_that_name_none() {
    need!("namespaces", "docker-registry", "kubectl");
    let place = Place::new(&["app"]);
    place.write("manifests/app.yaml", &service("app"));
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: other}\n---\n\
                 apiVersion: v1\nkind: Namespace\nmetadata: {name: stage}\n";
    place.write("manifests/other.yaml", other);
    // An object may also name the context's own namespace.
    let shop =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"two","namespace":"shop"}}"#;
    place.write("manifests/shop.json", shop);
    place.deploy(&["--namespace", "stage"]);
    for path in [
        "/apis/apps/v1/namespaces/stage/deployments/app",
        "/api/v1/namespaces/stage/services/app",
        "/api/v1/namespaces/other/configmaps/one",
        "/api/v1/namespaces/shop/configmaps/two",
        "/api/v1/namespaces/stage",
    ] {
        assert!(place.cluster.get(path).is_some(), "{path}");
    }
    assert!(place.cluster.get(&deployment("app")).is_none());
    place.write("deploy.toml", "namespace = \"stage\"\n");
    assert_eq!(counts(&place.deploy_json(&[]))["unchanged"], 5);
}

#[test]
fn texts_are_resolved_and_pushed_once() {
    need!("resolve", "docker-registry");
    let place = Place::new(&["app"]);
    place.write("manifests/app.yaml", &service("app"));
    let resolve = |more: &[&str]| {
        let arguments = [&["resolve", "-f", "manifests/app.yaml"], more].concat();
        place.expect(true, &arguments).0
    };
    let expected = service("app").replace("crateyard://app", &place.reference("app"));
    assert_eq!(resolve(&["--dry-run"]), expected);
    assert_eq!(resolve(&[]), expected);
    let report: Value = serde_json::from_str(&resolve(&["--json", "--in-place"])).unwrap();
    assert_eq!(report["images"]["app"]["push"]["unchanged"], true);
    assert_eq!(report["edits"][0]["before"], "crateyard://app");
    assert_eq!(
        fs::read_to_string(place.path("manifests/app.yaml")).unwrap(),
        expected
    );
    // An error in one file leaves all others unchanged.
    place.write("manifests/app.yaml", &service("app"));
    place.write("manifests/other.yaml", "a: 1\nimage: crateyard://ap\n");
    let (_, error) = place.expect(false, &["resolve", "-f", "manifests", "--in-place"]);
    assert!(
        error.contains("manifests/other.yaml") && error.contains("line 2"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(place.path("manifests/app.yaml")).unwrap(),
        service("app")
    );
}

#[test]
fn an_image_for_several_platforms_goes_as_one_index() {
    need!("resolve of an index", "docker-registry");
    let mut place = Place::new(&["app"]);
    let mut layout = Layout::new();
    let images = ["amd64", "arm64"].map(|architecture| layout.image(&[vec![1; 100]], architecture));
    let index = layout.index(&images);
    layout.list(index.clone());
    place.layouts.insert("app".to_owned(), layout);
    place.write("manifests/app.json", "{\"image\": \"crateyard://app\"}\n");
    let (out, _) = place.expect(true, &["resolve", "-f", "manifests"]);
    assert!(out.contains(index["digest"].as_str().unwrap()), "{out}");
}

#[test]
fn the_chart_of_this_repository_keeps_its_shape() {
    need!("resolve of a chart", "docker-registry");
    let place = Place::new(&["gateway", "supervisor"]);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/charts/crateyard");
    let values = fs::read_to_string(chart.join("values.yaml")).unwrap();
    let chart = chart.display().to_string();
    let map = [
        "--map",
        "crateyard/gateway=gateway",
        "--map",
        "crateyard/supervisor=supervisor",
    ];
    let arguments = [&["resolve", "-f", &chart, "--output", "out"], &map[..]].concat();
    place.expect(true, &arguments);
    let resolved = fs::read_to_string(place.path("out/values.yaml")).unwrap();
    let mut expected = values;
    for image in ["gateway", "supervisor"] {
        let digest = place.digest(image);
        let repository = format!("{}/team/{image}", place.registry.address);
        expected = expected.replace(&format!("docker.io/crateyard/{image}"), &repository);
        let tag = format!("tag: \"{}@{digest}\"", &digest["sha256:".len()..][..12]);
        expected = expected.replacen("tag: \"\"", &tag, 1);
    }
    assert_eq!(resolved, expected);
    // Only Helm can roll out a chart.
    let arguments = [&["deploy", "-f", &chart], &map[..]].concat();
    let (_, error) = place.expect(false, &arguments);
    assert!(error.contains("helm template"), "{error}");
}

#[test]
fn units_are_installed_where_they_changed() {
    need!("Quadlet units", "docker-registry");
    // Nothing has failed so far, and a service starts unless a file says otherwise.
    let script = "case \"$*\" in *is-failed*) [ -e CALLS-failed ]; exit;; esac\n\
                  echo \"$@\" >> CALLS\n! [ -e CALLS-refused ]";
    let mut host = Host::new(&["one", "two"], "systemctl", script);
    for name in ["one", "two"] {
        let unit = format!(
            "# \
             {name}\n[Container]\nImage=crateyard://{name}\n\n[Install]\nWantedBy=default.target\n"
        );
        host.place
            .write(&format!("manifests/{name}.container"), &unit);
    }
    let deploy = |host: &Host, more: &[&str]| host.deploy(&[&["--units", "units"], more].concat());
    let is_root = rustix::process::geteuid().is_root();
    let user = if is_root { "" } else { "--user " };
    let expect = |services: &[&str]| {
        let restarts = services
            .iter()
            .map(|name| format!("{user}restart -- {name}.service\n"));
        format!("{user}daemon-reload\n{}", restarts.collect::<String>())
    };
    assert_eq!(deploy(&host, &[]), expect(&["one", "two"]));
    assert_eq!(deploy(&host, &[]), "");
    let installed =
        |host: &Host| fs::read_to_string(host.place.path("units/two.container")).unwrap();
    let before = installed(&host);
    let image = format!("Image={}\n", host.place.reference("two"));
    assert!(before.contains(&image), "{before}");
    host.place.build("one", 29);
    deploy(&host, &[]);
    host.place.build("two", 30);
    assert_eq!(deploy(&host, &["--dry-run"]), "");
    assert_eq!(deploy(&host, &[]), expect(&["two"]));
    // The rollback does not undo the deployment of the other service before it.
    assert_eq!(deploy(&host, &["--rollback"]), expect(&["two"]));
    assert_eq!(installed(&host), before);

    // The next run starts a service that did not start, and one that has failed since.
    host.place.write("calls-refused", "");
    let units = ["--units", "units"];
    assert_eq!(host.expect(false, &units), format!("{user}daemon-reload\n"));
    assert_eq!(host.expect(false, &units), format!("{user}daemon-reload\n"));
    fs::remove_file(host.place.path("calls-refused")).unwrap();
    assert_eq!(deploy(&host, &[]), expect(&["two"]));
    assert_eq!(deploy(&host, &[]), "");
    host.place.write("calls-failed", "");
    assert_eq!(deploy(&host, &[]), expect(&["one", "two"]));
}

/// Calls of systemctl fail for nothing, and are recorded, but for questions.
const SYSTEMCTL: &str = "case \"$*\" in *is-failed*) exit 1; esac\necho \"$@\" >> CALLS";

#[test]
fn drop_ins_go_and_come_back_with_their_units() {
    need!("drop-ins", "docker-registry");
    let host = Host::new(&["app"], "systemctl", SYSTEMCTL);
    let (unit, drop_in) = (
        "[Container]\nPull=never\n",
        "[Container]\nImage=crateyard://app\n",
    );
    host.place.write("manifests/app.container", unit);
    host.place
        .write("manifests/app.container.d/image.conf", drop_in);
    let units = ["--units", "units"];
    let deploy = |more: &[&str]| host.deploy(&[&units, more].concat());
    let restarts = |calls: &str| calls.matches("restart -- app.service\n").count();
    let installed = |file: &str| fs::read_to_string(host.place.path(&format!("units/{file}")));
    assert_eq!(restarts(&deploy(&[])), 1);
    let expected = drop_in.replace("crateyard://app", &host.place.reference("app"));
    assert_eq!(installed("app.container.d/image.conf").unwrap(), expected);
    assert_eq!(deploy(&[]), "");

    let edited = format!("{drop_in}Environment=A=1\n");
    host.place
        .write("manifests/app.container.d/image.conf", &edited);
    assert_eq!(restarts(&deploy(&[])), 1);
    assert_eq!(restarts(&deploy(&["--rollback"])), 1);
    assert_eq!(installed("app.container.d/image.conf").unwrap(), expected);
    assert_eq!(restarts(&deploy(&[])), 1);
    // A drop-in that is new does nothing after a rollback.
    host.place
        .write("manifests/app.container.d/more.conf", "[Container]\nB=1\n");
    assert_eq!(restarts(&deploy(&[])), 1);
    assert_eq!(restarts(&deploy(&["--rollback"])), 1);
    assert_eq!(installed("app.container.d/more.conf").unwrap(), "");

    // A unit that is named alone has its drop-ins.
    let resolve = ["resolve", "-f", "manifests/app.container"];
    let written = [&resolve[..], &["--output", "out"]].concat();
    host.place.expect(true, &written);
    assert!(host.place.path("out/app.container.d/more.conf").is_file());
    let (_, error) = host.place.expect(false, &resolve);
    assert!(
        error.contains("app.container is a unit") && error.contains("--output DIR"),
        "{error}"
    );
    let inside = ["-f", "manifests/app.container.d/image.conf"];
    let inside = [&["resolve", "--output", "other"], &inside[..]].concat();
    host.place.expect(true, &inside);
    assert!(
        host.place
            .path("other/app.container.d/image.conf")
            .is_file()
    );
}

#[test]
fn networks_and_volumes_that_stay_as_they_are_are_named() {
    need!("networks and volumes", "docker-registry");
    let host = Host::new(&[], "systemctl", SYSTEMCTL);
    let units = ["--units", "units"];
    let write = |network: &str, volume: &str| {
        host.place.write("manifests/inner.network", network);
        host.place.write("manifests/data.volume", volume);
    };
    write("[Network]\n", "[Volume]\n");
    let keeps = |said: &str| said.matches("podman keeps the ").count();
    let (_, said) = host.say(true, &units);
    assert_eq!(keeps(&said), 0, "{said}");
    write("[Network]\nInternal=true\n", "[Volume]\nLabel=a=b\n");
    let (calls, said) = host.say(true, &units);
    for name in ["network systemd-inner", "volume systemd-data"] {
        assert!(said.contains(&format!("keeps the {name} as")), "{said}");
    }
    for service in ["inner-network.service", "data-volume.service"] {
        assert!(calls.contains(service), "{calls}");
    }
    write(
        "[Network]\nNetworkDeleteOnStop=true\n",
        "[Volume]\nVolumeName=other\n",
    );
    let (_, said) = host.say(true, &units);
    assert_eq!(keeps(&said), 0, "{said}");
}

#[test]
fn two_units_of_one_name_are_refused() {
    need!("names of units", "docker-registry");
    let host = Host::new(&[], "systemctl", SYSTEMCTL);
    for place in ["a", "b"] {
        host.place
            .write(&format!("manifests/{place}/app.pod"), "[Pod]\n");
    }
    let (calls, said) = host.say(false, &["--units", "units"]);
    assert!(
        calls.is_empty() && said.contains("manifests/a/app.pod and manifests/b/app.pod"),
        "{said}"
    );
}

#[test]
fn a_file_name_is_no_option_of_systemctl() {
    need!("names of units", "docker-registry");
    let host = Host::new(&["app"], "systemctl", "echo \"$@\" >> CALLS");
    let unit = "[Container]\nImage=crateyard://app\n";
    host.place.write("manifests/-Hroot@host.container", unit);
    let calls = host.deploy(&["--units", "units"]);
    assert!(
        calls.contains("restart -- -Hroot@host.service\n"),
        "{calls}"
    );
}

#[test]
fn compose_gets_references_and_what_it_got_before() {
    need!("compose files", "docker-registry", "kubectl");
    let script = "[ \"$2\" = version ] && exit 0\necho \"$@\" >> CALLS\ncat >> CALLS\n\
                  ! [ -e CALLS-unhealthy ]";
    let mut host = Host::new(&["app"], "docker", script);
    let file = "services:\n  app: # one\n    image: crateyard://app\n";
    host.place.write("manifests/compose.yaml", file);
    let up = |text: &str, dry: &str| {
        format!("compose --project-directory manifests {dry}--file - up --detach --wait\n{text}")
    };
    let resolved = |host: &Host| file.replace("crateyard://app", &host.place.reference("app"));
    let first = resolved(&host);
    assert_eq!(host.deploy(&[]), up(&first, ""));
    host.place.build("app", 40);
    assert_eq!(
        host.deploy(&["--dry-run"]),
        up(&resolved(&host), "--dry-run ")
    );
    assert_eq!(host.deploy(&[]), up(&resolved(&host), ""));
    assert_eq!(host.deploy(&["--rollback"]), up(&first, ""));

    // If a version does not start, a rollback goes back one step, not two.
    host.place.build("app", 41);
    let second = resolved(&host);
    host.deploy(&[]);
    host.place.build("app", 42);
    host.place.write("calls-unhealthy", "");
    assert_eq!(host.expect(false, &[]), up(&resolved(&host), ""));
    fs::remove_file(host.place.path("calls-unhealthy")).unwrap();
    // Objects of a cluster that were never deployed do not prevent it.
    host.place.write("manifests/app.yaml", &service("app"));
    assert_eq!(host.deploy(&["--rollback"]), up(&second, ""));
}

#[test]
fn inputs_of_the_commit_to_compare_with_are_checked_first() {
    need!("inputs of a commit", "nix", "git");
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fs::create_dir_all(path("secret")).unwrap();
    fs::create_dir(path("work")).unwrap();
    let flake = format!(
        "{{ inputs.x = {{ url = \"path:{}\"; flake = false; }}; outputs = _: {{ }}; }}\n",
        path("secret").display()
    );
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=me", "-c", "user.email=me@host.example"]);
        command.args(arguments).current_dir(path("work"));
        assert!(command.status().unwrap().success());
    };
    git(&["init", "--quiet"]);
    fs::write(path("work/images.toml"), "").unwrap();
    for flake in [flake.as_str(), "{ outputs = _: { }; }\n"] {
        fs::write(path("work/flake.nix"), flake).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "flake"]);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_assemble"));
    command.args(["affected", "--since", "HEAD~1"]);
    command.current_dir(path("work")).env("HOME", home.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("flake.lock does not name each input of flake.nix"),
        "{said}"
    );
}

#[test]
fn a_watch_goes_on_after_an_edit() {
    need!("deploy --watch", "docker-registry", "kubectl", "git");
    let place = Place::new(&["app"]);
    place.write("manifests/app.yaml", &service("app"));
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(place.home.path());
        assert!(command.status().unwrap().success());
    };
    git(&["init", "--quiet"]);
    git(&["add", "manifests"]);
    let mut command = place.command(&["deploy", "-f", "manifests", "--watch", "--no-wait"]);
    let null = std::process::Stdio::null;
    let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
    let expect = |paths: usize| {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut written = Vec::new();
        while written.len() < paths && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            written.extend(place.cluster.written());
        }
        written
    };
    assert_eq!(expect(2).len(), 2);
    // An edit that does not parse does not end the loop.
    place.write("manifests/app.yaml", "a: [");
    std::thread::sleep(Duration::from_secs(2));
    let edited = service("app").replace("replicas: 2", "replicas: 3");
    place.write("manifests/app.yaml", &edited);
    let written = expect(1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(written, [deployment("app")]);
}
