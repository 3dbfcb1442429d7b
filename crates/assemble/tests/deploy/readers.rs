//! Hands what `resolve` and `deploy` write to the programs that people hand it to: docker compose,
//! podman's generator of systemd units, and Helm's own library. `tests/readers` brings them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crateyard_testing::need;

use super::place::{Host, Place};

/// Runs a program, expects it to succeed, and returns its output.
#[track_caller]
fn read_by(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the words that name an image by a digest, or that still have our scheme.
fn images(text: &str) -> BTreeSet<String> {
    let words = text.split([' ', '\n', '"', '=']);
    let images = words.filter(|word| word.contains("@sha256:") || word.contains("crateyard://"));
    images.map(str::to_owned).collect()
}

const COMPOSE: &str = "\
x-common: &common
  image: crateyard://app # of all
  environment:
    LEVEL: \"${LEVEL:-info}\"
services:
  web:
    <<: *common
    ports: [\"8080:80\"]
    env_file: web.env
  worker:
    <<: *common
    image: 'crateyard://worker'
    depends_on: {web: {condition: service_started}}
  db:
    image: \
docker.io/library/postgres@\
sha256:0000000000000000000000000000000000000000000000000000000000000000
";

/// Another file of the same project, in JSON as YAML allows.
const OVERRIDE: &str = "services: {\"web\": {\"image\": \"crateyard://other\"}}\n";

#[test]
fn docker_compose_reads_what_resolve_writes() {
    need!("compose's own parser", "docker-registry", "docker-compose");
    let place = Place::new(&["app", "other", "worker"]);
    place.write("manifests/compose.yaml", COMPOSE);
    place.write("manifests/compose.override.yaml", OVERRIDE);
    place.write("manifests/web.env", "A=1\n");
    place.expect(
        true,
        &["resolve", "-f", "manifests", "--output", "manifests/out"],
    );
    let configured = |files: &[&str]| {
        let mut command = Command::new("docker-compose");
        command.args(["--project-directory", "manifests"]);
        for file in files {
            command.args(["--file", &format!("manifests/out/{file}")]);
        }
        command
            .args(["config", "--images"])
            .current_dir(place.home.path());
        images(&read_by(command.env("HOME", place.home.path())))
    };
    let postgres = format!("docker.io/library/postgres@sha256:{}", "0".repeat(64));
    let expect = |ours: &[&str]| {
        let ours = ours.iter().map(|image| place.reference(image));
        ours.chain([postgres.clone()]).collect::<BTreeSet<String>>()
    };
    assert_eq!(configured(&["compose.yaml"]), expect(&["app", "worker"]));
    let both = configured(&["compose.yaml", "compose.override.yaml"]);
    assert_eq!(both, expect(&["other", "worker"]));
}

#[test]
fn docker_compose_reads_what_deploy_hands_it() {
    need!("compose's own parser", "docker-registry", "docker-compose");
    // The same file and directory as for `up`, which needs an engine.
    let script = "[ \"$2\" = version ] && exit 0\nshift\n\
                  [ \"$*\" = '--project-directory manifests --file - up --detach --wait' ] || \
                  exit 9\n\
                  docker-compose \"$1\" \"$2\" \"$3\" \"$4\" config > CALLS";
    let host = Host::new(&["app", "worker"], "docker", script);
    host.place.write("manifests/compose.yaml", COMPOSE);
    host.place.write("manifests/web.env", "A=1\n");
    let read = host.deploy(&[]);
    assert!(read.contains("A: \"1\""), "{read}");
    let ours: BTreeSet<String> = ["app", "worker"].map(|it| host.place.reference(it)).into();
    let read = images(&read);
    assert!(read.is_superset(&ours) && read.len() == 3, "{read:?}");
}

/// Units of each kind, with names of services of their own, an image and a volume that others use,
/// a template, drop-ins of one unit and of all containers, and YAML that podman plays.
const UNITS: [(&str, &str); 12] = [
    (
        "app.container",
        "[Container]\nImage=crateyard://app\nExec=serve \\\n  --listen \
         80\nPod=group.pod\nVolume=data.volume:/data\n",
    ),
    (
        "front.container",
        "[Container]\nImage=pulled.image\nNetwork=inner.network\n",
    ),
    (
        "front.container.d/10-name.conf",
        "[Container]\nServiceName=web-front\n",
    ),
    (
        "job@.container.d/10-runs.conf",
        "[Container]\nEnvironment=RUNS=crateyard://app\n",
    ),
    ("container.d/90-all.conf", "[Container]\nReadOnly=true\n"),
    ("job@.container", "[Container]\nImage=pulled.image\n"),
    ("pulled.image", "[Image]\nImage=crateyard://pulled\n"),
    (
        "data.volume",
        "[Volume]\nDriver=image\nImage=crateyard://app\n",
    ),
    (
        "group.pod",
        "[Pod]\nPodmanArgs=--infra-image crateyard://pulled\n",
    ),
    ("inner.network", "[Network]\nInternal=true\n"),
    ("played.kube", "[Kube]\nYaml=play.yaml\n"),
    (
        "play.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: play}\nspec:\n  containers:\n  - {name: a, \
         image: crateyard://app}\n",
    ),
];

/// Returns the services that podman's generator makes of the units in a directory, with its texts.
fn generated(directory: &Path) -> (BTreeSet<String>, String) {
    let mut command = Command::new("quadlet");
    command.arg("-dryrun").env("QUADLET_UNIT_DIRS", directory);
    let text = read_by(&mut command);
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("---")?.strip_suffix("---"));
    (names.map(str::to_owned).collect(), text)
}

/// Returns the services that recorded calls of systemctl restart.
fn restarted(calls: &str) -> Vec<String> {
    let words = calls
        .lines()
        .filter_map(|line| line.split_once("restart -- "));
    let services = words.flat_map(|(_, services)| services.split(' '));
    services.map(str::to_owned).collect()
}

#[test]
fn quadlet_reads_what_deploy_installs() {
    need!("Quadlet's own parser", "docker-registry", "quadlet");
    // Nothing has failed.
    let script = "case \"$*\" in *is-failed*) exit 1; esac\necho \"$@\" >> CALLS";
    let mut host = Host::new(&["app", "pulled"], "systemctl", script);
    for (name, text) in UNITS {
        host.place.write(&format!("manifests/{name}"), text);
    }
    let deploy = |host: &Host| restarted(&host.deploy(&["--units", "units"]));
    let started: BTreeSet<String> = deploy(&host).into_iter().collect();
    let units = host.place.path("units");
    let (services, text) = generated(&units);
    let [app, pulled] = ["app", "pulled"].map(|it| host.place.reference(it));
    let ours: BTreeSet<String> = [app.clone(), pulled.clone()].into();
    assert_eq!(images(&text), ours, "{text}");
    for wanted in [
        format!(" {app} serve --listen 80\n"),
        format!("image pull {pulled}\n"),
        format!("--opt image={app} "),
        format!("--infra-image {pulled}\n"),
        format!("{}/play.yaml\n", units.display()),
        format!("--env RUNS={app} {pulled}\n"),
        " --read-only ".to_owned(),
    ] {
        assert!(text.contains(&wanted), "no {wanted:?} in\n{text}");
    }
    let played = fs::read_to_string(units.join("play.yaml")).unwrap();
    assert!(played.contains(&format!("image: {app}}}")), "{played}");

    // Each restart is of a service that the generator makes.
    let patterns = |name: &String| name.replace("@*", "@");
    let known: BTreeSet<String> = started.iter().map(patterns).collect();
    assert_eq!(known, services, "{text}");

    // Another build of an image restarts those that run it, once, after it is pulled.
    assert_eq!(deploy(&host), [""; 0]);
    host.place.build("pulled", 70);
    let restarts = deploy(&host);
    assert_eq!(
        restarts,
        [
            "pulled-image.service",
            "web-front.service",
            "job@*.service",
            "group-pod.service"
        ]
    );
    // Podman plays other YAML only after a restart. Another network or volume concerns those that
    // use it, and a drop-in those that it is for.
    for (file, from, to, expected) in [
        (
            "play.yaml",
            "name: play",
            "name: another",
            &["played.service"][..],
        ),
        (
            "inner.network",
            "Internal",
            "IPv6",
            &["inner-network.service", "web-front.service"],
        ),
        (
            "data.volume",
            "[Volume]",
            "[Volume]\nLabel=a=b",
            &["data-volume.service", "app.service"],
        ),
        (
            "front.container.d/10-name.conf",
            "[Container]",
            "[Container]\nEnvironment=A=1",
            &["web-front.service"],
        ),
        (
            "container.d/90-all.conf",
            "true",
            "false",
            &["app.service", "web-front.service", "job@*.service"],
        ),
    ] {
        let (_, text) = UNITS.iter().find(|(name, _)| *name == file).unwrap();
        host.place
            .write(&format!("manifests/{file}"), &text.replace(from, to));
        assert_eq!(deploy(&host), expected, "{file}");
    }
}

#[test]
fn helm_renders_what_resolve_writes() {
    need!("Helm's own engine", "docker-registry", "helm-render");
    let place = Place::new(&["gateway", "supervisor"]);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/charts/crateyard");
    let values = chart.join("values.yaml").display().to_string();
    let map = [
        "crateyard/gateway=gateway",
        "crateyard/supervisor=supervisor",
    ];
    let map: Vec<&str> = map.iter().flat_map(|name| ["--map", name]).collect();
    let arguments = [&["resolve", "-f", &values, "--output", "out"], &map[..]].concat();
    place.expect(true, &arguments);
    let render = |values: &str| {
        let mut command = Command::new("helm-render");
        command.arg(&chart).arg(place.path(values));
        read_by(&mut command)
    };
    let rendered = render("out/values.yaml");
    let expected: BTreeSet<String> = ["gateway", "supervisor"]
        .map(|image| {
            let digest = place.digest(image);
            let tag = &digest["sha256:".len()..][..12];
            let repository = format!("{}/team/{image}", place.registry.address);
            format!("{repository}:{tag}@{digest}")
        })
        .into();
    assert_eq!(images(&rendered), expected, "{rendered}");

    // People who have other values keep them in files of their own.
    let own =
        "gateway:\n  replicas: 3\n  image:\n    repository: crateyard://gateway\n    tag: x\n";
    place.write("own.yaml", own);
    place.expect(true, &["resolve", "-f", "own.yaml", "--in-place"]);
    let rendered = render("own.yaml");
    assert!(rendered.contains("replicas: 3"), "{rendered}");
    let gateway = place.reference("gateway").replace('@', ":x@");
    assert!(images(&rendered).contains(&gateway), "{rendered}");

    // What Helm rendered can be resolved, too.
    place.write(
        "raw.yaml",
        "gateway: {image: {repository: \"crateyard://gateway\", tag: v1}}\n",
    );
    place.write("manifests/rendered.yaml", &render("raw.yaml"));
    place.expect(
        true,
        &["resolve", "-f", "manifests", "--output", "resolved"],
    );
    let resolved = fs::read_to_string(place.path("resolved/rendered.yaml")).unwrap();
    assert_eq!(
        images(&resolved),
        [place.reference("gateway")].into(),
        "{resolved}"
    );
}
