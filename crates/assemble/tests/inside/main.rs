//! Looks inside images and exports them: the real program on small layouts, read back by real
//! tools.

mod load;
mod registry;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

const STATUS: &str =
    "Package: demo\nStatus: install ok installed\nVersion: 1.0-1\nArchitecture: amd64\n";
/// A name with an escape sequence, which no honest image has.
const HOSTILE: &str = "/srv/\u{1b}[2Jodd";

fn assemble(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assemble"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that must succeed, and returns its output.
fn prints(arguments: &[&str]) -> String {
    let output = assemble(arguments);
    let complaint = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    text(&output.stdout)
}

fn prints_json(arguments: &[&str]) -> Value {
    serde_json::from_str(&prints(arguments)).unwrap()
}

/// Runs a command that must fail. Returns its exit code and message.
fn fails(arguments: &[&str]) -> (i32, String) {
    let output = assemble(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    (output.status.code().unwrap(), text(&output.stderr))
}

fn layer(directory: &Path, name: &str, sources: Value) -> PathBuf {
    let out = directory.join(format!("{name}.layer"));
    let spec = json!({"version": 1, "comment": name, "epoch": 0, "sources": sources});
    let spec = serde_json::from_value(spec).unwrap();
    crateyard_image::layer::make(&spec, &out, 1).unwrap();
    out
}

/// Makes an image of two layers at `directory/name`. A file and a variable contain `version`.
fn make_image(directory: &Path, name: &str, version: &str) -> String {
    make_image_for(directory, name, version, "amd64")
}

fn make_image_for(directory: &Path, name: &str, version: &str, architecture: &str) -> String {
    let text = |to: &str, text: &str| json!({"kind": "text", "to": to, "text": text});
    let base = layer(
        directory,
        &format!("{name}-base"),
        json!([
            text("/etc/demo.conf", "colour = blue\n"),
            text("/var/lib/dpkg/status", STATUS),
            text("/var/lib/dpkg/info/demo.list", "/.\n/etc\n/etc/demo.conf\n"),
            {"kind": "text", "to": "/usr/bin/demo", "text": "#!/bin/sh\n", "mode": "0755"},
            {"kind": "symlink", "to": "/etc/link", "target": "../srv/version"},
        ]),
    );
    let top = layer(
        directory,
        &format!("{name}-top"),
        json!([text("/srv/version", version), text(HOSTILE, "x")]),
    );
    let spec = json!({
        "version": 1, "name": "demo", "references": ["demo:1.0"], "created": 0,
        "platform": {"os": "linux", "architecture": architecture}, "layers": [base, top],
        "config": {"user": "1000", "entrypoint": ["/usr/bin/demo", "a b"],
                   "env": [{"name": "VERSION", "value": version}]},
    });
    let out = directory.join(name);
    crateyard_image::layout::make(&serde_json::from_value(spec).unwrap(), &out).unwrap();
    out.display().to_string()
}

/// Capabilities are shown as getcap prints them, other attributes by name.
#[test]
fn ls_shows_capabilities_and_attributes() {
    let directory = tempdir().unwrap();
    let capabilities = "AQAAAgAEAAAAAAAAAAAAAAAAAAA=";
    let files = layer(
        directory.path(),
        "files",
        json!([
            {"kind": "text", "to": "/both", "text": "",
             "xattrs": {"security.capability": capabilities, "user.note": "aGk="}},
            {"kind": "text", "to": "/plain", "text": ""},
        ]),
    );
    let spec = json!({
        "version": 1, "name": "demo", "references": ["demo:1.0"], "created": 0,
        "platform": {"os": "linux", "architecture": "amd64"}, "layers": [files], "config": {},
    });
    let out = directory.path().join("image");
    crateyard_image::layout::make(&serde_json::from_value(spec).unwrap(), &out).unwrap();
    let image = out.display().to_string();
    let listed = prints(&["ls", &image]);
    let both = "/both [cap_net_bind_service=ep, user.note]\n";
    assert!(
        listed.contains(both) && listed.contains("/plain\n"),
        "{listed}"
    );
    let files = prints_json(&["ls", &image, "--json"]);
    assert_eq!(files[0]["capabilities"], "cap_net_bind_service=ep");
    assert_eq!(files[0]["xattrs"]["user.note"], "aGk=");
    assert_eq!(files[1].get("capabilities"), None);
}

fn demo() -> (TempDir, String) {
    let directory = tempdir().unwrap();
    let image = make_image(directory.path(), "image", "1");
    (directory, image)
}

/// Whether a program can be run. If not, prints that the test is skipped.
fn has(test: &str, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let answer = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let problem = match answer {
        Ok(status) if status.success() => return true,
        Ok(_) => "does not work here",
        Err(_) => "is not installed",
    };
    eprintln!("SKIPPED: {test}: {program} {problem}");
    false
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let complaint = text(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {complaint}"
    );
    text(&output.stdout)
}

#[test]
fn inspect_shows_configuration_layers_and_packages() {
    let (_directory, image) = demo();
    let shown = prints(&["inspect", &image, "--packages"]);
    for expected in [
        "platform     linux/amd64\n",
        "user         1000\n",
        "entrypoint   /usr/bin/demo \"a b\"\n",
        "environment  VERSION=1\n",
        "image-base\n",
        "1 Debian package\n  demo  1.0-1  amd64  14 B\n",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    let summaries = prints_json(&["inspect", &image, "--json"]);
    assert_eq!(summaries[0]["config"]["config"]["User"], "1000");
    assert_eq!(summaries[0]["layers"].as_array().unwrap().len(), 2);
    assert!(summaries[0].get("contents").is_none());
}

#[test]
fn ls_lists_one_level_or_all() {
    let (_directory, image) = demo();
    let etc = prints(&["ls", &image, "/etc"]);
    let lines: Vec<&str> = etc.lines().collect();
    assert_eq!(lines.len(), 2, "{etc}");
    assert!(lines[0].starts_with("-rw-r--r--  0:0  14  demo  /etc/demo.conf"));
    assert!(lines[1].ends_with("/etc/link -> ../srv/version"));
    let all = prints_json(&["ls", &image, "--recursive", "--digests", "--json"]);
    let conf = all.as_array().unwrap().iter();
    let conf = conf
        .clone()
        .find(|file| file["path"] == "/etc/demo.conf")
        .unwrap();
    assert_eq!(
        (&conf["package"], &conf["layer"]),
        (&json!("demo"), &json!(0))
    );
    assert!(conf["digest"].as_str().unwrap().starts_with("sha256:"));
    let top = prints(&["ls", &image, "-R", "--layer", "1"]);
    assert!(top.contains("/srv/version") && !top.contains("/etc/demo.conf"));
    let (code, error) = fails(&["ls", &image, "/nothing"]);
    assert!(
        code == 1 && error.contains("/nothing is not in the image"),
        "{error}"
    );
}

#[test]
fn nothing_in_an_image_reaches_the_terminal_unescaped() {
    let (_directory, image) = demo();
    let shown = prints(&["ls", &image, "/srv"]);
    assert!(shown.contains("/srv/\\u{1b}[2Jodd"), "{shown}");
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn cat_follows_links_inside_the_image() {
    let (_directory, image) = demo();
    assert_eq!(prints(&["cat", &image, "/etc/link"]), "1");
    let (_, error) = fails(&["cat", &image, "/etc"]);
    assert!(error.contains("not a regular file"), "{error}");
    // The colon makes it a reference, and nothing listens at that address.
    let (code, _) = fails(&["cat", "localhost:1/none:x", "/etc", "--retries", "0"]);
    assert_eq!(code, 7);
}

#[test]
fn diff_says_what_changed_and_nothing_else() {
    let (directory, before) = demo();
    let after = make_image(directory.path(), "after", "2.0");
    let same = prints(&["diff", &before, &before, "--exit-code"]);
    assert_eq!(same, "no difference: both have the same digest\n");
    let shown = prints(&["diff", &before, &after]);
    for expected in [
        "~  config.Env.VERSION  1 -> 2.0\n",
        "layers: 2 changes, 1 in common\n",
        "files: 1 change\n  ~  content  +2    /srv/version\n",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    let output = assemble(&["diff", &before, &after, "--exit-code", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let difference: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(difference["files"][0]["path"], "srv/version");
}

#[test]
fn verify_gives_a_verdict() {
    let (directory, image) = demo();
    let shown = prints(&["verify", &image]);
    assert!(shown.starts_with("sound: 1 image, 4 blobs"), "{shown}");
    let summaries = prints_json(&["inspect", &image, "--json"]);
    let digest = summaries[0]["layers"][0]["digest"].as_str().unwrap();
    let blob = Path::new(&image).join(format!("blobs/{}", digest.replace(':', "/")));
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, bytes).unwrap();
    let output = assemble(&["verify", &image]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(
        shown.contains(digest) && shown.contains("\nNOT SOUND, "),
        "{shown}"
    );
    let output = assemble(&["verify", &image, "--json"]);
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["sound"], false);
    // A layout without an image is not sound either; a missing file is an error.
    let empty = directory.path().join("empty.tar");
    fs::write(&empty, [0; 1024]).unwrap();
    let output = assemble(&["verify", empty.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("NOT SOUND"));
    let (code, error) = fails(&["verify", "./nothing"]);
    assert!(
        code == 1 && error.contains("\"./nothing\" is not an image"),
        "{error}"
    );
}

#[test]
fn a_name_is_what_was_built_last() {
    let (directory, image) = demo();
    let store = directory
        .path()
        .join(format!("{}-demo-image", "a".repeat(32)));
    fs::rename(&image, &store).unwrap();
    let workspace = directory.path().join("workspace");
    fs::create_dir_all(workspace.join(".crateyard")).unwrap();
    std::os::unix::fs::symlink(&store, workspace.join(".crateyard/image")).unwrap();
    let description = "version = 1\n[images.demo]\nbinaries = [\"demo\"]\n";
    fs::write(workspace.join("images.toml"), description).unwrap();
    fs::create_dir(workspace.join("demo")).unwrap();
    let workspace = workspace.to_str().unwrap();
    let shown = prints(&["cat", "demo", "/srv/version", "--workspace", workspace]);
    assert_eq!(shown, "1");
    // A directory of that name is ignored if it is not a layout.
    let beside = Command::new(env!("CARGO_BIN_EXE_assemble"))
        .args(["cat", "demo", "/srv/version"])
        .current_dir(workspace)
        .output()
        .unwrap();
    assert_eq!(text(&beside.stdout), "1", "{}", text(&beside.stderr));
    let (_, error) = fails(&["ls", "dem", "--workspace", workspace]);
    assert!(error.contains("images.toml describes demo"), "{error}");
}

#[test]
fn save_writes_both_formats_to_files_and_pipes() {
    let (directory, image) = demo();
    let digest = prints_json(&["inspect", &image, "--json"])[0]["digest"].clone();
    for format in ["oci", "docker"] {
        let path = directory.path().join(format!("{format}.tar"));
        let path = path.to_str().unwrap();
        prints(&["save", &image, "--format", format, "--out", path]);
        let inspected = prints_json(&["inspect", path, "--json"]);
        assert_eq!(inspected[0]["digest"], digest, "{format}");
        prints(&["verify", path]);
        let piped = assemble(&["save", &image, "--format", format, "--out", "-"]);
        assert!(
            piped.stdout == fs::read(path).unwrap(),
            "{format}: the pipe got other bytes"
        );
    }
    let (_, error) = fails(&["save", &image, "--out", "-", "--json"]);
    assert!(error.contains("--out FILE"), "{error}");
}

#[test]
fn layouts_of_other_tools_are_read() {
    let name = "layouts_of_other_tools_are_read";
    let (directory, image) = demo();
    let path = |name: &str| directory.path().join(name).display().to_string();
    if has(name, "skopeo", &["--version"]) {
        for (target, kind) in [
            ("sk", "oci"),
            ("sk.tar", "oci-archive"),
            ("dk.tar", "docker-archive"),
        ] {
            let target = path(target);
            let to = format!("{kind}:{target}:demo:2");
            run("skopeo", &["copy", "-q", &format!("oci:{image}:1.0"), &to]);
            assert!(prints(&["verify", &target]).contains("sound: "));
            assert_eq!(prints(&["cat", &target, "/srv/version"]), "1");
            let difference = prints_json(&["diff", &image, &target, "--json"]);
            assert_eq!(difference["files"], json!([]), "{kind}");
        }
    }
    if has(name, "umoci", &["--version"]) {
        let copy = path("umoci");
        run("cp", &["-r", &image, &copy]);
        let tagged = format!("{copy}:1.0");
        run(
            "umoci",
            &["config", "--image", &tagged, "--config.user", "7"],
        );
        let summaries = prints_json(&["inspect", &copy, "--name", "1.0", "--json"]);
        assert_eq!(summaries[0]["config"]["config"]["User"], "7");
        let shown = prints(&["diff", &image, &copy, "--after-name", "1.0"]);
        assert!(shown.contains("config.User  1000 -> 7"), "{shown}");
    }
}

#[test]
fn completions_and_man_pages_come_from_the_parser() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            prints(&["completions", shell]).contains("inspect"),
            "{shell}"
        );
    }
    assert!(prints(&["man"]).contains(".TH assemble 1"));
    let directory = tempdir().unwrap();
    prints(&["man", "--out", directory.path().to_str().unwrap()]);
    let page = fs::read_to_string(directory.path().join("assemble-verify.1")).unwrap();
    assert!(page.contains("sound"), "{page}");
}
