//! `assemble load`: engines take images.

use super::*;

/// Makes a directory with a program `name` that runs a shell script.
fn engine(directory: &Path, name: &str, script: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = std::env::var("PATH").unwrap();
    format!("{}:{paths}", directory.display())
}

fn load_with_path(path: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assemble"))
        .arg("load")
        .args(arguments)
        .env("PATH", path)
        .output()
        .unwrap()
}

#[test]
fn load_streams_a_whole_archive_or_stops_the_engine() {
    let (directory, image) = demo();
    let got = directory.path().join("got");
    let script = format!(
        "echo \"$@\" > {0}.arguments; cat > {0}; touch {0}.end",
        got.display()
    );
    let path = engine(directory.path(), "ctr", &script);
    let into = ["--into", "containerd", "--namespace", "k8s.io"];
    let output = load_with_path(&path, &[&[image.as_str()], &into[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "loaded into ctr: demo:1.0\n");
    let arguments = fs::read_to_string(directory.path().join("got.arguments")).unwrap();
    assert_eq!(arguments, "--namespace k8s.io images import -\n");
    prints(&["verify", got.to_str().unwrap()]);

    // If an engine refuses, its own message is shown.
    let path = engine(directory.path(), "ctr", "echo no room >&2; exit 3");
    let output = load_with_path(&path, &[&[image.as_str()], &into[..]].concat());
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("no room") && complaint.contains("exit status: 3"),
        "{complaint}"
    );

    // The blob is damaged, so the engine never sees the end of an archive.
    fs::remove_file(directory.path().join("got.end")).unwrap();
    let blobs = Path::new(&image).join("blobs/sha256");
    let layer = fs::read_dir(blobs)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .max()
        .unwrap();
    fs::remove_file(layer).unwrap();
    let path = engine(directory.path(), "ctr", &script);
    let output = load_with_path(&path, &[&[image.as_str()], &into[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(!directory.path().join("got.end").exists());
}

#[test]
fn engines_on_this_machine_take_what_is_loaded() {
    let name = "engines_on_this_machine_take_what_is_loaded";
    let (_directory, image) = demo();
    let reference = format!("crateyard-load-test:{}", std::process::id());
    let load = |engine: &str| {
        prints(&[
            "load",
            &image,
            "--into",
            engine,
            "--reference",
            &reference,
            "--json",
        ])
    };
    for program in ["docker", "podman"] {
        if has(name, program, &["info"]) {
            load(program);
            let user = run(
                program,
                &[
                    "image",
                    "inspect",
                    "--format",
                    "{{.Config.User}}",
                    &reference,
                ],
            );
            assert_eq!(user.trim(), "1000");
            run(program, &["rmi", &reference]);
        }
    }
}

#[test]
fn containerd_takes_what_is_loaded() {
    let name = "containerd_takes_what_is_loaded";
    if !has(name, "containerd", &["--version"]) || !has(name, "ctr", &["--version"]) {
        return;
    }
    if run("id", &["-u"]).trim() != "0" {
        return eprintln!("SKIPPED: {name}: containerd needs root");
    }
    let (directory, image) = demo();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (config, socket) = (path("config.toml"), path("socket"));
    let text = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    fs::write(&config, text).unwrap();
    let containerd = Command::new("containerd")
        .args(["--config", &config, "--address", &socket])
        .args(["--root", &path("root"), "--state", &path("state")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _stopped_at_the_end = Process(containerd);
    for _ in 0..200 {
        let mut version = Command::new("ctr");
        version.args(["--address", &socket, "version"]);
        if version.output().unwrap().status.success() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let place = ["--address", &socket, "--namespace", "k8s.io"];
    let loaded = prints(&[&["load", &image, "--into", "containerd"], &place[..]].concat());
    assert_eq!(loaded, "loaded into ctr: demo:1.0\n");
    let listed = run("ctr", &[&place[..], &["images", "ls", "-q"]].concat());
    assert_eq!(listed, "docker.io/library/demo:1.0\n");
}

/// A program that is stopped when the test ends, in any way.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
