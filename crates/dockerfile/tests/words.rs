//! Words and names with a meaning in a Dockerfile, a bake file or a shell.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crateyard_dockerfile::{BAKE, DOCKERFILE, IGNORE};
use fixture::for_workspace;
use tempfile::TempDir;

mod fixture;

/// Makes a workspace with these files.
fn workspace(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let output = Command::new("cargo")
        .args(["generate-lockfile", "--offline", "--quiet"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    directory
}

fn generated(root: &Path, file: &str) -> String {
    let files = for_workspace(root).unwrap();
    let found = files.into_iter().find(|(name, _)| *name == file);
    found.unwrap().1
}

fn package(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}")
}

const MAIN: &str = "fn main() {}\n";

fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn paths_and_values_are_taken_as_they_are() {
    let images = "version = 1\n[images.notes]\nbinaries = [{ package = \"notes\", path = \"/opt/my \
                  notes\" }]\nworkdir = \"/srv/$x y\"\nvolumes = [\"/data of $x\"]\nenvironment = \
                  { LINES = \"one\\ntwo\", MONEY = \"$5 \\\"cash\\\"\" }\nlabels = { poem = \
                  \"a\\r\\nb ${x} %{y}\" }\nfiles = [{ text = \"t\\n\", path = \"/etc/a $b\" }, { \
                  source = \"my docs\", path = \"/usr/share/d [1]\" }]\ncharts = [{ source = \"a \
                  chart\", path = \"/charts/\" }]\n";
    let root = workspace(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"2\"\nmembers = [\"my crates/notes\"]\n",
        ),
        ("my crates/notes/Cargo.toml", &package("notes", "")),
        ("my crates/notes/src/main.rs", MAIN),
        ("my docs/x", ""),
        ("a chart/Chart.yaml", "name: a\nversion: 1.0.0\n"),
        ("images.toml", images),
    ]);
    let text = generated(root.path(), DOCKERFILE);
    assert_holds(
        &text,
        &[
            r#"COPY ["my crates/notes/Cargo.toml","my crates/notes/"]"#,
            r#"COPY ["my crates/notes","my crates/notes"]"#,
            r#"COPY ["a chart","/charts/1/"]"#,
            r#"["/out/notes","/opt/my notes"]"#,
            r#"["my docs","/usr/share/d [1]"]"#,
            "=\"/etc/a \\$b\"\nCOPY",
            r#"WORKDIR "/srv/\$x y""#,
            r#"VOLUME ["/data of \\$x"]"#,
            "ARG LINES_ENV_1\n",
            "ENV LINES=\"${LINES_ENV_1}\"\n",
            r#"ENV MONEY="\$5 \"cash\"""#,
            "poem=\"${LINES_LABEL_",
        ],
    );
    let bake = generated(root.path(), BAKE);
    assert_holds(
        &bake,
        &[r#"LINES_ENV_1 = "one\ntwo""#, r#"= "a\r\nb $${x} %%{y}""#],
    );
    assert_holds(
        &generated(root.path(), IGNORE),
        &["!my crates/notes\n", "!my docs\n"],
    );
    // No line continues an instruction by accident: it is in a heredoc, is a continuation, or
    // begins with an instruction.
    assert!(!text.lines().any(|line| line.starts_with("two")), "{text}");
}

/// A heredoc ends each line by a line feed, so a shell prints the other texts.
#[test]
fn texts_have_their_exact_bytes() {
    let images = r#"version = 1
[images.notes]
binaries = ["notes"]
files = [
    { text = "plain\n", path = "/etc/plain" },
    { text = "no end 'q' $x %s", path = "/etc/no end", mode = "0600", user = "nonroot" },
    { text = "a\r\nb\r\n", path = "/etc/dos" },
    { text = "-n\\n", path = "/etc/option" },
]
"#;
    let root = workspace(&[
        ("Cargo.toml", &package("notes", "")),
        ("src/main.rs", MAIN),
        ("images.toml", images),
    ]);
    let text = generated(root.path(), DOCKERFILE);
    let begin = text.find("AS notes-files\nRUN <<'EOF'\n").unwrap();
    let script = text[begin..]
        .lines()
        .skip(2)
        .take_while(|line| *line != "EOF");
    let place = root.path().join("files").display().to_string();
    let script = script
        .collect::<Vec<_>>()
        .join("\n")
        .replace("/files", &place);
    // As the builder does, but as whoever runs this test.
    let script = script.replace("chown", ": chown");
    let status = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(status.success(), "{script}");
    for (name, content) in [
        ("no end", "no end 'q' $x %s"),
        ("dos", "a\r\nb\r\n"),
        ("option", "-n\\n"),
    ] {
        let path = root.path().join("files/1").join(name);
        assert_eq!(fs::read_to_string(path).unwrap(), content, "{script}");
    }
    assert_holds(&script, &["chown 65532:65532", "chmod 0600"]);
    assert_holds(&text, &["<<'EOF' /etc/plain\nplain\nEOF\n"]);
    assert!(!root.path().join("files/1/plain").exists());
}

#[test]
fn no_two_stages_or_targets_have_one_name() {
    let names = [
        "shared",
        "vendor",
        "recipe",
        "toolchain",
        "dependencies",
        "outputs",
        "archives",
        "bundle",
        "scratch",
        "app-build",
        "app-binary",
        "app-output",
        "web",
        "web-files",
        "web-archive",
        "web-base-image",
        "builder-image",
        "base-image",
        "7zip",
        "images",
    ];
    let image = |name: &&str| {
        format!("[images.{name}]\nbinaries = [\"app\"]\ndirectories = [{{ path = \"/srv\" }}]\n")
    };
    let mut images = String::from("version = 1\n");
    images.extend(names.iter().map(image));
    images += "[images.holder]\nbinaries = [\"lib_app\"]\nimages = [{ image = \"web\", path = \
               \"/web.tar\" }]\n";
    let root = workspace(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"2\"\nmembers = [\"app\", \"lib_app\"]\n",
        ),
        ("app/Cargo.toml", &package("app", "")),
        ("app/src/main.rs", MAIN),
        ("lib_app/Cargo.toml", &package("lib_app", "")),
        ("lib_app/src/main.rs", MAIN),
        ("images.toml", &images),
    ]);
    let text = generated(root.path(), DOCKERFILE);
    let stages: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("FROM ")?.split_once(" AS "))
        .map(|(_, name)| name)
        .collect();
    let different: BTreeSet<&str> = stages.iter().copied().collect();
    assert_eq!(stages.len(), different.len(), "{stages:?}");
    let contexts = ["builder-image", "base-image", "bundle", "web-base-image"];
    for stage in &stages {
        assert!(
            stage.starts_with(|c: char| c.is_ascii_lowercase()),
            "{stage}"
        );
        assert!(!contexts.contains(stage) && *stage != "scratch", "{stage}");
    }
    let bake = generated(root.path(), BAKE);
    let mut targets: Vec<&str> = bake
        .lines()
        .filter_map(|line| {
            line.strip_prefix("target \"")
                .or(line.strip_prefix("group \""))
        })
        .collect();
    targets.sort_unstable();
    let different: BTreeSet<&str> = targets.iter().copied().collect();
    assert_eq!(targets.len(), different.len(), "{targets:?}");
    for name in names {
        assert!(
            bake.contains(&format!("\ntarget \"{name}\" {{")),
            "no target {name}"
        );
    }
}

#[test]
fn programs_of_one_name_are_installed_by_the_call_that_made_them() {
    let bin = "[[bin]]\nname = \"server\"\npath = \"src/main.rs\"\n";
    let root = workspace(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"2\"\nmembers = [\"api\", \"worker\"]\n",
        ),
        ("api/Cargo.toml", &package("api", bin)),
        ("api/src/main.rs", MAIN),
        (
            "worker/Cargo.toml",
            &package(
                "worker",
                &format!("[features]\nx = []\n{bin}required-features = [\"x\"]\n"),
            ),
        ),
        ("worker/src/main.rs", MAIN),
        (
            "images.toml",
            "version = 1\n[images.api]\nbinaries = [\"api\"]\n[images.worker]\nbinaries = \
             [\"worker\"]\nbuild = { profile = \"dev\" }\n[images.both]\nbinaries = [\"api\", { \
             package = \"worker\", path = \"/usr/bin/worker\" }]\n",
        ),
    ]);
    let text = generated(root.path(), DOCKERFILE);
    assert_holds(
        &text,
        &[
            "set -- --profile release --package api --bin server ;;",
            "set -- --profile release --features worker/x --package worker --bin server ;;",
            "set -- --profile dev --features worker/x --package worker --bin server ;;",
            "/cargo/build release api \\\n && install -D \
             \"$CARGO_TARGET_DIR/$CARGO_BUILD_TARGET/release/server\" /out/api-server",
            "/debug/server\" /out/",
        ],
    );
    let installed: Vec<&str> = text
        .lines()
        .filter_map(|line| Some(line.split_once("install -D ")?.1.split_once(' ')?.1))
        .collect();
    let different: BTreeSet<&str> = installed.iter().copied().collect();
    assert_eq!((installed.len(), different.len()), (3, 3), "{installed:?}");
}

/// All forms that TOML allows: dotted keys, literal strings, unusual names.
#[test]
fn a_masked_version_is_masked_however_it_is_written() {
    let dependencies = "[dependencies]\nfirst.path = \"../first\"\nfirst.version = \"0.1\"\n\
                        other = { package = \"second\", path = '../second', version = '0.1.0' }\n\n\
                        [dependencies.third]\npath = \"../third\"\nversion = '0.1'\n";
    let library = |name: &str| package(name, "").replace("\"0.1.0\"", "'0.1.0'");
    let root = workspace(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"2\"\nmembers = [\"*\"]\n\n[workspace.package]\nversion = \
             '0.1.0'\n",
        ),
        (
            "app/Cargo.toml",
            &package("app", dependencies)
                .replace("version = \"0.1.0\"\ned", "version.workspace = true\ned"),
        ),
        ("app/src/main.rs", MAIN),
        ("first/Cargo.toml", &library("first")),
        ("first/src/lib.rs", ""),
        ("second/Cargo.toml", &library("second")),
        ("second/src/lib.rs", ""),
        ("third/Cargo.toml", &library("third")),
        ("third/src/lib.rs", ""),
    ]);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let awk = |script: &str, members: &str, input: &Path| {
        let output = Command::new("awk")
            .args(["-v", &format!("members={members}"), "-f"])
            .arg(source.join(script))
            .arg(input)
            .output()
            .unwrap();
        assert!(output.status.success());
        fs::write(input, output.stdout).unwrap();
    };
    for manifest in ["", "app/", "first/", "second/", "third/"] {
        awk(
            "manifest.awk",
            "",
            &root.path().join(format!("{manifest}Cargo.toml")),
        );
    }
    awk(
        "lock.awk",
        "app first second third",
        &root.path().join("Cargo.lock"),
    );
    let output = Command::new("cargo")
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .current_dir(root.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("first#0.0.0"));
}
