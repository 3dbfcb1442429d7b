//! A node without k3s, started from a bundle of real images: the gateway's and the supervisor's own
//! binaries with this machine's loader and libraries.

#[path = "../src/testing.rs"]
mod testing;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use testing::{Compression, Layer, archive};

const CLUSTER: &str = env!("CARGO_BIN_EXE_cluster");

/// An unprivileged user's id, as images have it.
const NOBODY: u32 = 65532;

/// The binaries of the other services, built in the target directory and profile of this test.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(CLUSTER).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "-p=gateway", "-p=supervisor", "--bins"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        cargo.arg("--target-dir").arg(directory.parent().unwrap());
        assert!(cargo.status().unwrap().success());
        directory.to_owned()
    })
}

/// Layers with a program and all that its loader loads for it.
fn program_layers(program: &Path) -> [(Layer, Compression); 4] {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_ascii_whitespace();
    let needed: BTreeSet<&str> = words.filter(|word| word.starts_with('/')).collect();
    assert!(!needed.is_empty(), "not dynamically linked: {text}");
    let mut libraries = Layer::new();
    for library in needed {
        let content = fs::read(library).unwrap();
        libraries = libraries.program(library.trim_start_matches('/'), &content);
    }
    let name = program.file_name().unwrap().to_str().unwrap();
    let binary = Layer::new().program(&format!("usr/bin/{name}"), &fs::read(program).unwrap());
    // Compressing much is slow in a program that was built for tests.
    let users = Layer::new().file("etc/passwd", "nobody:x:65532:65532::/:/sbin/nologin\n");
    let groups = Layer::new().file("etc/group", "nobody:x:65532:\n");
    [
        (libraries, Compression::None),
        (binary, Compression::None),
        (users, Compression::Gzip),
        (groups, Compression::Zstd),
    ]
}

/// The bundle that all tests start from, as files of this name and content.
fn bundle() -> &'static [(String, Vec<u8>)] {
    static BUNDLE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let services = [
            ("gateway", "/usr/bin/gateway"),
            ("supervisor", "supervisor"),
        ];
        let images = services.map(|(name, entrypoint)| {
            let program = stripped(&built().join(name), directory.path());
            let layers = program_layers(&program);
            let image = archive(layers, &[entrypoint], &["PATH=/sbin:/usr/bin"]);
            (format!("{name}.tar"), image)
        });
        images.into()
    })
}

/// A copy without debugging information, which is most of a program that was built for tests.
fn stripped(program: &Path, directory: &Path) -> PathBuf {
    let copy = directory.join(program.file_name().unwrap());
    let status = Command::new("strip")
        .arg("-o")
        .args([&copy, program])
        .status();
    assert!(status.unwrap().success());
    copy
}

struct Node {
    process: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Node {
    /// A node with a bundle that `prepare` may change first; as another user if this one may.
    fn start(flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let (bundle, data) = (
            directory.path().join("bundle"),
            directory.path().join("data"),
        );
        fs::create_dir(&bundle).unwrap();
        fs::create_dir(&data).unwrap();
        for (name, content) in self::bundle() {
            fs::write(bundle.join(name), content).unwrap();
        }
        prepare(&bundle);
        let mut command = command(directory.path(), port);
        command
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.stderr(fs::File::create(directory.path().join("log")).unwrap());
        as_nobody(&mut command, directory.path());
        Node {
            process: command.spawn().unwrap(),
            directory,
            port,
        }
    }

    fn health(&self) -> Output {
        let mut health = command(self.directory.path(), self.port);
        health.arg("health").output().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "no {what}; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_until_healthy(&mut self) {
        self.wait_until("health", |node| node.health().status.success());
    }

    fn wait(&mut self) -> i32 {
        self.wait_until("end", |node| node.process.try_wait().unwrap().is_some());
        let status = self.process.wait().unwrap();
        status.code().unwrap_or_else(|| panic!("{status}"))
    }

    fn signal(&self, name: &str) {
        kill(name, self.process.id());
    }

    /// The process id in the first log line with this part's name.
    fn pid_of(&self, part: &str) -> u32 {
        let log = self.log();
        let events = log.lines().filter_map(|l| serde_json::from_str(l).ok());
        let mut started = events.filter(|event: &serde_json::Value| {
            event["message"] == "started" && event["name"] == part
        });
        let pid = started.next().unwrap()["pid"].as_u64().unwrap();
        pid.try_into().unwrap()
    }
}

/// Everything ends in order, else the supervisors and their commands would stay.
impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal("TERM");
            let _ = self.process.wait();
        }
    }
}

fn command(directory: &Path, port: u16) -> Command {
    // A copy: another user need not be able to reach the directory that Cargo built it in.
    let program = directory.join("cluster");
    if !program.exists() {
        // By another process: a file that this one still has open for writing, in a fork of some
        // other test's thread, can't be executed.
        let copied = Command::new("cp").arg(CLUSTER).arg(&program).status();
        assert!(copied.unwrap().success());
    }
    let mut command = Command::new(program);
    command
        .env("CLUSTER_BUNDLE", directory.join("bundle"))
        .env("CLUSTER_DATA_DIR", directory.join("data"))
        .env("CLUSTER_LISTEN", format!("127.0.0.1:{port}"))
        .env("CRATEYARD_LOG_FORMAT", "json")
        // No k3s, even where the machine has one.
        .env("PATH", "/nonexistent");
    command
}

/// As the image does it. A test without privileges runs as the user that it is.
fn as_nobody(command: &mut Command, directory: &Path) {
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY));
    if own(&directory.join("data")).is_ok() {
        own(directory).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    } else {
        eprintln!("SKIPPED: node as user {NOBODY}: only root can change the user");
    }
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("/bin/kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_node_starts_from_its_bundle_turns_healthy_and_ends_in_order() {
    let mut node = Node::start(&["--supervisors=3"], |_| {});
    node.wait_until_healthy();
    // A supervisor reports its start before its command has said a word.
    node.wait_until("three workloads", |node| {
        node.log().matches("workload runs").count() == 3
    });

    // The program that runs is the bundle's, by the bundle's loader.
    let root = node.directory.path().join("data/rootfs/gateway");
    let maps = fs::read_to_string(format!("/proc/{}/maps", node.pid_of("gateway"))).unwrap();
    let files: BTreeSet<&str> = maps
        .split_ascii_whitespace()
        .filter(|w| w.starts_with('/'))
        .collect();
    assert!(files.iter().any(|f| f.contains("libc.so.6")), "{files:?}");
    for file in files {
        assert!(
            Path::new(file).starts_with(&root),
            "{file} is not of the bundle"
        );
    }

    // A second one would unpack over it.
    let mut second = command(node.directory.path(), free_port());
    as_nobody(&mut second, node.directory.path());
    let second = second.output().unwrap();
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && words.contains("another node"),
        "{words}"
    );
    assert!(node.health().status.success());

    let begin = Instant::now();
    node.signal("TERM");
    assert_eq!(node.wait(), 0, "{}", node.log());
    assert!(begin.elapsed() < Duration::from_secs(9));
    let log = node.log();
    let at = |text: &str| {
        log.rfind(text)
            .unwrap_or_else(|| panic!("no {text} in {log}"))
    };
    assert_eq!(log.matches("workload ends: SIGTERM").count(), 3);
    assert!(at("supervisor ends") < at("gateway drains"), "{log}");
    assert!(at("gateway ends") < at("node ended"), "{log}");
    let health = node.health();
    assert_eq!(health.status.code(), Some(1));
}

#[test]
fn health_says_who_is_missing() {
    let mut node = Node::start(&["--supervisors=1"], |_| {});
    let before = String::from_utf8(node.health().stderr).unwrap();
    assert!(before.contains("the node has not started"), "{before}");
    node.wait_until_healthy();
    // A frozen gateway.
    kill("STOP", node.pid_of("gateway"));
    let health = node.health();
    assert_eq!(health.status.code(), Some(1));
    let words = String::from_utf8(health.stderr).unwrap();
    assert!(words.contains("the gateway is not ready"), "{words}");
    kill("CONT", node.pid_of("gateway"));
    node.wait_until_healthy();
}

#[test]
fn a_part_that_ends_ends_the_node() {
    let mut node = Node::start(&[], |_| {});
    node.wait_until_healthy();
    kill("TERM", node.pid_of("supervisor-2"));
    assert_eq!(node.wait(), 1);
    assert!(
        node.log().contains("supervisor-2 ended by itself"),
        "{}",
        node.log()
    );
    assert_eq!(node.log().matches("workload ends: SIGTERM").count(), 2);
}

#[test]
fn a_damaged_bundle_starts_nothing() {
    let damage = |bundle: &Path| {
        let path = bundle.join("supervisor.tar");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    let mut node = Node::start(&[], damage);
    assert_eq!(node.wait(), 1);
    let log = node.log();
    assert!(
        log.contains("supervisor.tar") && log.contains("has the digest"),
        "{log}"
    );
    assert!(!log.contains("\"started\""), "{log}");

    let mut node = Node::start(&[], |bundle| {
        fs::remove_file(bundle.join("gateway.tar")).unwrap();
    });
    assert_eq!(node.wait(), 1);
    assert!(
        node.log().contains("gateway.tar; name the directory"),
        "{}",
        node.log()
    );
}

#[test]
fn an_image_without_its_program() {
    let mut node = Node::start(&[], |bundle| {
        let layer = Layer::new().file("etc/hello", "hello");
        let image = archive([(layer, Compression::None)], &["gateway"], &[]);
        fs::write(bundle.join("gateway.tar"), image).unwrap();
    });
    assert_eq!(node.wait(), 1);
    assert!(
        node.log().contains("entrypoint \"gateway\" is not in it"),
        "{}",
        node.log()
    );
}

#[test]
fn a_taken_port_ends_the_node_with_the_gateways_words() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--listen={}", taken.local_addr().unwrap());
    let mut node = Node::start(&[&flag], |_| {});
    assert_eq!(node.wait(), 1);
    let log = node.log();
    assert!(
        log.contains("can't listen on") && log.contains("gateway did not start"),
        "{log}"
    );
}
