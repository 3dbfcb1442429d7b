//! `assemble push` and `assemble pull` as people run them.
#![allow(missing_docs)]

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crateyard_testing::moments::{Moments, kill};
use crateyard_testing::need;
use crateyard_testing::proxy::{Fault, Proxy};
use crateyard_testing::{Layout, Registry};
use serde_json::{Value, json};

const HTPASSWD: &str = "ann:$2y$04$DB.JUfTUWWKABFiljuNNEeSJ7FGrpHrVanSMTLzKzyQZykcvltoc2\n";

/// Runs assemble with its own home.
fn assemble(home: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_assemble"))
        .args(arguments)
        .current_dir(home)
        .env("HOME", home)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("DOCKER_CONFIG")
        .env_remove("REGISTRY_AUTH_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails before it reads closes its end of the pipe first.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the command, expects this exit code, and returns both outputs.
fn expect(code: i32, home: &Path, arguments: &[&str]) -> (String, String) {
    let output = assemble(home, arguments, "");
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}\n{error}"
    );
    if code != 0 {
        assert!(error.starts_with("error: "), "{error}");
        assert!(out.is_empty(), "{out}");
    }
    (out, error)
}

#[test]
fn push_says_what_it_did_to_people_and_to_programs() {
    need!("push command", "docker-registry");
    let registry = Registry::start();
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::with_image(1, &[100_000, 2000]);
    let path = layout.path().to_str().unwrap();
    let target = registry.reference("app:v1").to_string();
    let (out, _) = expect(
        0,
        home.path(),
        &["push", path, "--to", &target, "--dry-run"],
    );
    assert!(
        out.contains("would send 102.") && out.contains("(3 blobs)"),
        "{out}"
    );
    let (out, error) = expect(0, home.path(), &["push", path, "--to", &target]);
    assert!(
        out.starts_with(&format!("{target}@sha256:")) && out.contains("  sent 10"),
        "{out}"
    );
    assert!(error.is_empty(), "no progress where nobody looks: {error}");
    let (out, _) = expect(0, home.path(), &["push", path, "--to", &target, "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    let image = &report["images"][0];
    assert_eq!(
        (&image["unchanged"], &image["requests"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(image["blobs"]["existing"], 3);
    for field in [
        "bytes_sent",
        "bytes_saved",
        "retries",
        "digest",
        "tags",
        "transfers",
    ] {
        assert!(!image[field].is_null(), "{field}");
    }
    let (one, two) = (home.path().join("one"), home.path().join("two.tar"));
    std::os::unix::fs::symlink(path, &one).unwrap();
    std::fs::copy(layout.archive().path(), &two).unwrap();
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let to = format!("{}/all/", registry.address);
    let arguments = [
        "push", one, two, "--to", &to, "-t", "v1", "-t", "v2", "--json",
    ];
    let (out, _) = expect(0, home.path(), &arguments);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["images"].as_array().unwrap().len(), 2);
    assert_eq!(report["images"][1]["blobs"]["mounted"], 3);
    assert_eq!(report["images"][0]["tags"], json!(["v1", "v2"]));
    assert_eq!(report["images"][1]["repository"], format!("{to}two"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    need!("closed standard output", "docker-registry");
    let registry = Registry::start();
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::with_image(3, &[1000]);
    let target = registry.reference("app:v1").to_string();
    for more in [&[][..], &["--json"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_assemble"))
            .args(["push", layout.path().to_str().unwrap(), "--to", &target])
            .args(more)
            .env("HOME", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

#[test]
fn every_failure_has_its_code_and_says_what_to_try() {
    need!("exit codes", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let layout = Layout::with_image(2, &[1000]);
    let path = layout.path().to_str().unwrap();
    let good = proxy.reference("app:v1").to_string();
    let closed = format!("{}/app:v1", crateyard_testing::free_address());
    let empty = tempfile::tempdir().unwrap();
    let not_a_layout = empty.path().to_str().unwrap();
    let gzip = home.join("image.tar");
    std::fs::write(&gzip, [0x1f, 0x8b, 8, 0, 0, 0]).unwrap();
    let wrong = proxy
        .reference(&format!("app@sha256:{}", "0".repeat(64)))
        .to_string();
    let cases: [(i32, &[&str], &str); 10] = [
        (2, &["push", path, "--to", "UPPER/Case"], "UPPER"),
        (2, &["pull", "https://r.example/app", "out"], "https://"),
        (3, &["push", not_a_layout, "--to", &good], "oci-layout"),
        (
            3,
            &["push", gzip.to_str().unwrap(), "--to", &good],
            "gunzip",
        ),
        (3, &["push", path, "--to", &wrong], "digest"),
        (
            5,
            &["pull", &proxy.reference("none:v1").to_string(), "out"],
            "GET /v2/none/manifests/v1",
        ),
        (7, &["push", path, "--to", &closed], "HEAD http://"),
        (1, &["push", "./missing", "--to", &good], "missing"),
        (1, &["push", "missing", "--to", &good], "has no images.toml"),
        (3, &["push", ".", "--to", &good], "oci-layout"),
    ];
    for (code, arguments, part) in cases {
        let (_, error) = expect(code, home, arguments);
        assert!(error.contains(part), "{arguments:?}: {error}");
        if code != 1 {
            assert!(error.contains("\n  try: "), "{arguments:?}: {error}");
        }
    }
    assert!(
        !home.join("out").exists(),
        "a failed pull leaves nothing behind"
    );
    let answer = |status| Fault::Answer {
        status,
        headers: Vec::new(),
    };
    for (code, status) in [
        (4, "403 Forbidden"),
        (6, "422 Unprocessable Entity"),
        (7, "500 Internal Server Error"),
    ] {
        proxy.fail("PUT", "/manifests/", 99, answer(status));
        let (_, error) = expect(code, home, &["push", path, "--to", &good, "--retries", "0"]);
        assert!(
            error.contains(status) && error.contains(&good) && error.contains("PUT http://"),
            "{error}"
        );
        proxy.heal();
    }
    let change: fn(&mut crateyard_testing::proxy::Head) =
        |head| head.set("Docker-Content-Digest", "sha256:0");
    proxy.fail("PUT", "/manifests/", 1, Fault::Rewrite(change));
    expect(8, home, &["push", path, "--to", &good]);
    // clap's own code for wrong usage is also 2.
    let output = assemble(home, &["push", path], "");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn retries_are_said_out_loud() {
    need!("retries", "docker-registry");
    let registry = Registry::start();
    let proxy = Proxy::start(registry.address);
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::with_image(3, &[1000]);
    let target = proxy.reference("app:v1").to_string();
    let headers = vec![("Retry-After", "1".to_owned())];
    proxy.fail(
        "POST",
        "/uploads/",
        1,
        Fault::Answer {
            status: "429 Too Many Requests",
            headers,
        },
    );
    let (out, error) = expect(
        0,
        home.path(),
        &["push", layout.path().to_str().unwrap(), "--to", &target],
    );
    assert!(out.contains("1 retries"), "{out}");
    assert!(
        error.starts_with("warning: POST http://") && error.contains("as the registry asks"),
        "{error}"
    );
}

#[test]
fn passwords_come_from_standard_input() {
    need!("password", "docker-registry");
    let directory = tempfile::tempdir().unwrap();
    let htpasswd = directory.path().join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let registry = Registry::start_with(
        json!({}),
        json!({"htpasswd": {"realm": "test", "path": htpasswd}}),
    );
    let layout = Layout::with_sound_image(4, 1000);
    let target = registry.reference("app:v1").to_string();
    let path = layout.path().to_str().unwrap();
    let home = directory.path();
    let arguments = [
        "push",
        path,
        "--to",
        &target,
        "--username",
        "ann",
        "--password-stdin",
    ];
    assert_eq!(assemble(home, &arguments[..4], "").status.code(), Some(4));
    let wrong = assemble(home, &arguments, "wrong\n");
    assert_eq!(wrong.status.code(), Some(4));
    assert!(
        !text(&wrong.stderr).contains("wrong\n"),
        "{}",
        text(&wrong.stderr)
    );
    let empty = assemble(home, &arguments, "\n");
    assert!(
        text(&empty.stderr).contains("--password-stdin"),
        "{}",
        text(&empty.stderr)
    );
    let output = assemble(home, &arguments, "secret\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    // docker's own file works as well.
    let docker = home.join(".docker");
    std::fs::create_dir(&docker).unwrap();
    let config = json!({"auths": {registry.address.to_string(): {"auth": "YW5uOnNlY3JldA=="}}});
    std::fs::write(docker.join("config.json"), config.to_string()).unwrap();
    expect(0, home, &["pull", &target, "out"]);
    assert!(home.join("out/index.json").is_file());
    let again = expect(0, home, &["pull", &target, "out", "--json"]).0;
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["fetched"], 0);
}

/// Whether a process has a file open in a directory, with something in it. The file may lack a
/// name.
fn writes_in(process: u32, directory: &Path) -> bool {
    let open = std::fs::read_dir(format!("/proc/{process}/fd"));
    open.into_iter().flatten().flatten().any(|descriptor| {
        let link = std::fs::read_link(descriptor.path());
        let is_below = link.is_ok_and(|link| link.starts_with(directory));
        let file = std::fs::metadata(descriptor.path());
        is_below && file.is_ok_and(|file| file.is_file() && file.len() > 0)
    })
}

#[test]
fn a_killed_save_leaves_a_whole_archive_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    // Not all file systems have unnamed files.
    let has_unnamed = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(home)
        .is_ok();
    let layout = Layout::with_sound_image(7, 8_000_000);
    let path = layout.path().to_str().unwrap();
    let arguments = ["save", path, "--out", "image.tar"];
    let begin = Instant::now();
    expect(0, home, &arguments);
    let whole_time = begin.elapsed();
    let archive = home.join("image.tar");
    let size = std::fs::metadata(&archive).unwrap().len();
    std::fs::remove_file(&archive).unwrap();
    let mut moments = Moments::new("killed saves");
    let (mut within, mut left) = (0, 0);
    while moments.another(within) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_assemble"))
            .args(arguments)
            .current_dir(home)
            .env("HOME", home)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole_time.mul_f64(moments.random.f64()));
        within += usize::from(writes_in(child.id(), home));
        kill(child.id());
        child.wait().unwrap();
        // A file with the archive's name is always complete.
        if let Ok(file) = std::fs::metadata(&archive) {
            assert_eq!(file.len(), size);
            expect(0, home, &["verify", "image.tar"]);
            std::fs::remove_file(&archive).unwrap();
        }
        let begun = std::fs::read_dir(home).unwrap().flatten().filter(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with('.') && name.contains("image.tar")
        });
        let begun: Vec<_> = begun.collect();
        left += begun.len();
        // The next run removes the remains.
        if !begun.is_empty() {
            expect(0, home, &arguments);
            for entry in begun {
                assert!(!entry.path().exists(), "{} is left", entry.path().display());
            }
            std::fs::remove_file(&archive).unwrap();
        }
    }
    moments.require(within, "an archive that was being written");
    // A file has a temporary name only between two system calls.
    assert!(!has_unnamed || left < 2, "{left} files were left");
}

#[test]
fn pull_refuses_what_verify_does_not_call_sound() {
    need!("unsound", "docker-registry");
    let registry = Registry::start();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    // The digests are right, but the layer is not an archive.
    let layout = Layout::with_image(5, &[3000]);
    let path = layout.path().to_str().unwrap();
    let bad = registry.reference("bad:v1").to_string();
    expect(0, home, &["push", path, "--to", &bad]);
    let verified = assemble(home, &["verify", &bad], "");
    assert_eq!(verified.status.code(), Some(1));
    let (_, error) = expect(3, home, &["pull", &bad, "out"]);
    assert!(
        error.contains("not sound") && error.contains("try: assemble verify"),
        "{error}"
    );
    assert!(!home.join("out").exists(), "nothing is left");
    // A layout that holds an image is not changed.
    let sound = Layout::with_sound_image(6, 3000);
    let good = registry.reference("good:v1").to_string();
    expect(
        0,
        home,
        &["push", sound.path().to_str().unwrap(), "--to", &good],
    );
    expect(0, home, &["pull", &good, "out"]);
    let index = std::fs::read(home.join("out/index.json")).unwrap();
    expect(3, home, &["pull", &bad, "out"]);
    assert_eq!(std::fs::read(home.join("out/index.json")).unwrap(), index);
    expect(0, home, &["verify", "./out"]);
    // An image for a machine other than the requested one.
    expect(
        3,
        home,
        &["pull", &good, "other", "--platform", "linux/arm64"],
    );
}

/// As in build.rs, the machine's shell is the builder.
const NIX_SETTINGS: &str = "\
experimental-features = nix-command flakes
sandbox-paths = /bin=/usr/bin /usr /lib=/usr/lib /lib64=/usr/lib64
substituters =
";

#[test]
fn images_of_a_flake_are_built_first() {
    need!(
        "images_of_a_flake_are_built_first",
        "docker-registry",
        "nix"
    );
    let registry = Registry::start();
    let directory = tempfile::tempdir().unwrap();
    let home = &directory.path().join("nixpkgs");
    std::fs::create_dir(home).unwrap();
    // A unique name in the machine's store, where no earlier run has left anything.
    let made = format!("made {}", home.display());
    let image = |image: &str| {
        let layout = Layout::with_image(5, &[1000]);
        let copied = Command::new("cp")
            .args(["-r".as_ref(), layout.path(), &home.join(image)])
            .status();
        assert!(copied.unwrap().success());
        format!(
            r#"{image}-image = make "{image}-image"
                "cp -r ${{./{image}}} $out; chmod -R u+w $out; : {made}";"#
        )
    };
    let flake = format!(
        r#"{{ outputs = {{ self }}: {{ packages.x86_64-linux = let
        make = name: script: derivation {{
            inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ];
            PATH = "/usr/bin";
        }}; in {{ trial = make "trial" "mkdir $out"; {} {} }}; }}; }}"#,
        image("a"),
        image("b")
    );
    std::fs::write(home.join("flake.nix"), flake).unwrap();
    let described = "version = 1\n[images.a]\nbinaries = [\"a\"]\n[images.b]\nbinaries = [\"b\"]\n";
    std::fs::write(home.join("images.toml"), described).unwrap();
    let trial = Command::new("nix")
        .args(["build", "--no-link", ".#trial"])
        .current_dir(home)
        .env("NIX_CONFIG", NIX_SETTINGS)
        .output();
    if !trial.is_ok_and(|trial| trial.status.success()) {
        crateyard_testing::skip("images_of_a_flake_are_built_first", "Nix can't build here");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_assemble"))
        .args(["push", "--to", &format!("{}/team:v1", registry.address)])
        .arg("--json")
        .current_dir(home)
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .env("NIX_CONFIG", NIX_SETTINGS)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let images = report["images"].as_array().unwrap().iter();
    let repositories: Vec<&str> = images
        .map(|image| image["repository"].as_str().unwrap())
        .collect();
    let expected = ["team/a", "team/b"].map(|name| format!("{}/{name}", registry.address));
    assert_eq!(repositories, expected);
    for image in ["a-image", "b-image"] {
        assert!(
            home.join(".crateyard").join(image).exists(),
            "{image} was not built"
        );
    }
    // A directory with the name of a flake in Nix's online registry.
    let build = |workspace: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assemble"));
        command.args(["build", "a", "--workspace", workspace]);
        command.current_dir(directory.path()).env("HOME", home);
        command.env("NIX_CONFIG", NIX_SETTINGS).output().unwrap()
    };
    let output = build("nixpkgs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = build("templates");
    let error = text(&output.stderr);
    assert!(
        !output.status.success() && error.contains("there is no templates/images.toml"),
        "{error}"
    );
}
