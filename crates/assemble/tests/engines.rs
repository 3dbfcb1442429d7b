//! Tests `assemble build --engine cargo` and `--engine buildx`: they make the same layouts in the
//! same place as Nix does.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Makes a copy of the workspace of the Dockerfile tests, with this repository's packages.
fn workspace() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(
        &repository().join("crates/dockerfile/tests/dockerfile/workspace"),
        copy.path(),
    );
    fs::copy(
        repository().join("debian.lock"),
        copy.path().join("debian.lock"),
    )
    .unwrap();
    copy
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn assemble(workspace: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assemble"));
    // Otherwise all tests would share one target directory.
    command
        .current_dir(workspace)
        .env_remove("CARGO_TARGET_DIR");
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    output.stdout
}

/// Builds, and returns the digest and the path of each image.
fn build(command: &mut Command, engine: &str) -> BTreeMap<String, (String, PathBuf)> {
    let lines = succeeds(command.args(["build", "--json", "--engine", engine]));
    let lines: Value = serde_json::from_slice(&lines).unwrap();
    let field = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let images = lines.as_array().unwrap().iter().map(|line| {
        let place = (field(line, "digest"), field(line, "path").into());
        (field(line, "name"), place)
    });
    images.collect()
}

fn skipped(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {test}: {reason}");
}

#[test]
fn cargo_builds_what_the_description_says_and_says_so() {
    let workspace = workspace();
    let root = workspace.path();
    let first = build(&mut assemble(root), "cargo");
    let names: Vec<&String> = first.keys().collect();
    assert_eq!(names, ["cluster", "gateway", "gateway-bare", "supervisor"]);
    for (_, path) in first.values() {
        succeeds(assemble(root).arg("verify").arg(path));
    }
    let inspected: Value = serde_json::from_slice(&succeeds(
        assemble(root).args(["inspect", "gateway", "--json"]),
    ))
    .unwrap();
    let inspected = inspected.to_string();
    assert!(
        inspected.contains(
            "\"io.github.crateyard.unhermetic\":\"compiled by the cargo of one machine\""
        ),
        "{inspected}"
    );
    let accounts = succeeds(assemble(root).args(["cat", "gateway", "/etc/passwd"]));
    assert!(text_of(&accounts).contains("app:x:10001:10001:"));

    assert_eq!(
        build(&mut assemble(root), "cargo"),
        first,
        "nothing changed"
    );

    let main = root.join("crates/supervisor/src/main.rs");
    let source = fs::read_to_string(&main).unwrap();
    let edited = source.replace("greet(\"supervisor\")", "greet(\"Supervisor\")");
    assert_ne!(source, edited);
    fs::write(&main, edited).unwrap();
    let second = build(&mut assemble(root), "cargo");
    let changed: Vec<&String> = first
        .keys()
        .filter(|name| first[*name] != second[*name])
        .collect();
    assert_eq!(changed, ["cluster", "supervisor"]);
    assert!(!first["supervisor"].1.exists(), "the image before is left");
    assert!(second["supervisor"].1.exists());
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_missing_is_said() {
    let workspace = workspace();
    fs::remove_file(workspace.path().join("debian.lock")).unwrap();
    let output = assemble(workspace.path())
        .args(["build", "--engine", "cargo", "supervisor"])
        .output()
        .unwrap();
    let said = text(&output);
    assert!(!output.status.success());
    assert!(said.contains("`assemble lock` writes it"), "{said}");

    let output = assemble(workspace.path())
        .args(["build", "--engine", "buildx", "supervisor"])
        .env("DOCKER_HOST", "unix:///nonexistent/socket")
        .output()
        .unwrap();
    let said = text(&output);
    assert!(!output.status.success());
    assert!(said.contains("  try: "), "{said}");
}

/// Returns a context for each of the layouts that tests/run makes, and the sources of the
/// dependencies, or the reason why they are missing.
fn contexts(workspace: &Path) -> Result<Vec<(&'static str, String)>, String> {
    let engine = Command::new("docker").args(["info"]).output();
    if !engine.is_ok_and(|output| output.status.success()) {
        return Err("no engine answers `docker info`".to_owned());
    }
    let layout = |name: &str| {
        let path = repository().join(".crateyard/layouts").join(name);
        match fs::canonicalize(&path) {
            Ok(path) => Ok(format!("oci-layout://{}", path.display())),
            Err(_) => Err(format!("there is no {}", path.display())),
        }
    };
    let (toolchain, base) = (layout("builder-image")?, layout("base-image")?);
    let vendor = workspace.join(".crateyard/vendor");
    succeeds(
        Command::new("cargo")
            .args(["vendor", "--locked", "--versioned-dirs"])
            .arg(&vendor)
            .current_dir(workspace),
    );
    Ok(vec![
        ("TOOLCHAIN", toolchain),
        ("BASE", base),
        ("VENDOR", vendor.display().to_string()),
    ])
}

#[test]
fn buildx_leaves_layouts_as_others_do() {
    let test = "buildx_leaves_layouts_as_others_do";
    let workspace = workspace();
    let root = workspace.path();
    let contexts = match contexts(root) {
        Ok(contexts) => contexts,
        Err(reason) => return skipped(test, &reason),
    };
    let buildx = || {
        let mut command = assemble(root);
        command.envs(contexts.iter().map(|(name, value)| (name, value)));
        command
    };
    let drifted = buildx()
        .args(["build", "--engine=buildx"])
        .output()
        .unwrap();
    assert!(!drifted.status.success());
    assert!(
        text(&drifted).contains("try: assemble dockerfile"),
        "{}",
        text(&drifted)
    );

    succeeds(assemble(root).arg("dockerfile"));
    let first = build(&mut buildx(), "buildx");
    let names: Vec<&String> = first.keys().collect();
    assert_eq!(names, ["cluster", "gateway", "gateway-bare", "supervisor"]);
    for (_, path) in first.values() {
        succeeds(assemble(root).arg("verify").arg(path));
    }
    assert_eq!(build(&mut buildx(), "buildx"), first, "nothing changed");
    // An image inside another one is that same image, layer by layer.
    let held = succeeds(assemble(root).args(["cat", "cluster", "/bundle/gateway.tar"]));
    let (digest, _) = &first["gateway"];
    assert!(text_of(&held).contains(digest), "{digest}");
}

/// Makes a workspace whose packages have binaries of one name, one of which needs a feature.
fn servers() -> TempDir {
    let workspace = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = workspace.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let workspaces = "[workspace]\nresolver = \"2\"\nmembers = [\"orders\", \"stock\"]\n";
    write("Cargo.toml", workspaces);
    for name in ["orders", "stock"] {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \
             \"2021\"\n[features]\nloud = []\n[[bin]]\nname = \"server\"\npath = \
             \"src/main.rs\"\n[[bin]]\nname = \"{name}-admin\"\npath = \
             \"src/main.rs\"\nrequired-features = [\"loud\"]\n"
        );
        write(&format!("{name}/Cargo.toml"), &manifest);
        let main = format!("fn main() {{ print!(\"{name} {{}}\", cfg!(feature = \"loud\")) }}\n");
        write(&format!("{name}/src/main.rs"), &main);
    }
    write(
        "images.toml",
        "version = 1\n[images.orders]\nbase = \"none\"\nbinaries = \
         [\"orders/server\"]\n[images.stock]\nbase = \"none\"\nbinaries = \
         [\"stock/server\"]\n[images.stock.variants.loud]\nbuild = { features = [\"loud\"] \
         }\n[images.admin]\nbase = \"none\"\nbuild = { profile = \"dev\" }\nbinaries = [{ package \
         = \"orders\", bin = \"orders-admin\", path = \"/usr/bin/server\" }]\n",
    );
    let lock = repository().join("debian.lock");
    fs::copy(lock, workspace.path().join("debian.lock")).unwrap();
    succeeds(
        Command::new("cargo")
            .args(["generate-lockfile", "--offline", "--quiet"])
            .current_dir(workspace.path()),
    );
    workspace
}

#[test]
fn each_image_has_its_own_program_of_a_name() {
    let workspace = servers();
    let images = build(&mut assemble(workspace.path()), "cargo");
    for (name, says) in [
        ("orders", "orders false"),
        ("stock", "stock false"),
        ("stock-loud", "stock true"),
        ("admin", "orders true"),
    ] {
        let (_, path) = &images[name];
        let mut cat = assemble(workspace.path());
        let program = succeeds(cat.arg("cat").arg(path).arg("/usr/bin/server"));
        let file = workspace.path().join(format!("{name}-program"));
        fs::write(&file, program).unwrap();
        succeeds(Command::new("chmod").arg("755").arg(&file));
        let said = succeeds(&mut Command::new(&file));
        assert_eq!(String::from_utf8_lossy(&said), says, "{name}");
    }
}
