//! A node with k3s, by a stand-in that writes down what it is given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Node {
            directory: tempfile::tempdir().unwrap(),
        };
        for (name, content) in [
            ("bundle/gateway.tar", "gateway image"),
            ("bundle/supervisor.tar", "supervisor image"),
            ("bundle/charts/crateyard-0.1.0.tgz", "chart"),
            ("bundle/manifests/crateyard.yaml", "manifest"),
            ("bundle/manifests/notes.txt", "not for k3s"),
        ] {
            let path = node.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Makes a k3s of this script, in a directory `bin`.
    fn k3s(&self, script: &str) -> PathBuf {
        let k3s = self.path("bin/k3s");
        fs::create_dir_all(k3s.parent().unwrap()).unwrap();
        fs::write(&k3s, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&k3s, fs::Permissions::from_mode(0o755)).unwrap();
        k3s
    }

    fn run(&self, arguments: &[&str], path: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        command.env("CLUSTER_BUNDLE", self.path("bundle"));
        command.env("CLUSTER_DATA_DIR", self.path("data"));
        command.env("PATH", path).current_dir(self.directory.path());
        command.args(arguments).output().unwrap()
    }
}

#[test]
fn k3s_finds_the_bundle_and_takes_the_process_over() {
    let node = Node::new();
    let k3s = node.k3s("echo $$ > pid; for a; do echo \"$a\" >> arguments; done; exit 7");
    let output = node.run(&["--", "--disable=traefik", "a b"], k3s.parent().unwrap());
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let data = node.path("data").display().to_string();
    let expected = format!("server\n--data-dir\n{data}\n--disable=traefik\na b\n");
    assert_eq!(node.read("arguments"), expected);

    for (placed, content) in [
        ("data/agent/images/gateway.tar", "gateway image"),
        ("data/agent/images/supervisor.tar", "supervisor image"),
        ("data/server/static/charts/crateyard-0.1.0.tgz", "chart"),
        ("data/server/manifests/crateyard.yaml", "manifest"),
    ] {
        assert_eq!(node.read(placed), content);
    }
    assert!(!node.path("data/server/manifests/notes.txt").exists());

    // A newer image is placed over the older one.
    fs::write(node.path("bundle/gateway.tar"), "newer").unwrap();
    node.run(&[], k3s.parent().unwrap());
    assert_eq!(node.read("data/agent/images/gateway.tar"), "newer");
}

#[test]
fn a_named_k3s_must_be_there() {
    let node = Node::new();
    let k3s = node.k3s("exit 0");
    let nowhere = Path::new("/nonexistent");
    let flag = format!("--k3s={}", k3s.display());
    assert!(node.run(&[&flag], nowhere).status.success());

    fs::set_permissions(&k3s, fs::Permissions::from_mode(0o644)).unwrap();
    let output = node.run(&[&flag], nowhere);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains(&flag.replace('=', " ")), "{words}");
}

#[test]
fn health_asks_k3s() {
    let node = Node::new();
    let script = "echo \"$@\" >> asked; [ ! -e down ] || { echo 'server is away' >&2; exit 1; }
         [ ! -e waiting ] || [ \"$2\" != wait ] || { echo 'gateway: timed out' >&2; exit 1; }";
    let k3s = node.k3s(script);
    let flag = format!("--k3s={}", k3s.display());
    let health = || node.run(&[&flag, "health"], Path::new("/bin"));
    assert!(health().status.success());
    let asked = node.read("asked");
    let lines: Vec<_> = asked.lines().collect();
    assert!(lines[0].starts_with("kubectl get --raw /readyz"), "{asked}");
    assert!(lines[1].contains("wait deployment --all"), "{asked}");
    assert!(lines[1].contains("--namespace=crateyard"), "{asked}");

    for (file, words) in [
        ("waiting", "not all deployments"),
        ("down", "server is away"),
    ] {
        fs::write(node.path(file), "").unwrap();
        let output = health();
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(words), "{errors}");
    }
}
