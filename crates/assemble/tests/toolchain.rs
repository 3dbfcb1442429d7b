//! Tests `assemble lock` and `assemble fetch` on a release of a few small files, from a directory
//! like rustup's and from a stand-in for the distribution server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

const HOST: &str = "x86_64-unknown-linux-gnu";
const OTHER: &str = "aarch64-unknown-linux-gnu";
/// An address where nothing listens.
const NOBODY: &str = "http://127.0.0.1:9";
/// Paths and contents.
type Files = &'static [(&'static str, &'static str)];

/// Each component: its name in the manifest, the name of its archive, and its files.
const COMPONENTS: [(&str, &str, Files); 5] = [
    (
        "cargo",
        "cargo",
        &[
            ("bin/cargo", "cargo"),
            ("share/doc/cargo/README.md", "read me"),
        ],
    ),
    (
        "clippy-preview",
        "clippy",
        &[("bin/clippy-driver", "clippy")],
    ),
    (
        "rust-std",
        "rust-std",
        &[(
            "lib/rustlib/x86_64-unknown-linux-gnu/lib/libstd.rlib",
            "std",
        )],
    ),
    (
        "rustc",
        "rustc",
        &[("bin/rustc", "rustc"), ("lib/librustc_driver.so", "driver")],
    ),
    ("rustfmt-preview", "rustfmt", &[("bin/rustfmt", "rustfmt")]),
];

/// A release on this machine and on a server, and a workspace that asks for it.
struct Case {
    directory: tempfile::TempDir,
    channel: String,
    date: String,
    server: String,
}

impl Case {
    fn new(channel: &str, version: &str) -> Option<Self> {
        for program in ["nix-store", "nix-prefetch-url", "tar", "xz"] {
            let found = Command::new(program).arg("--version").output();
            if !found.is_ok_and(|output| output.status.success()) {
                println!("SKIPPED: a test of toolchains: there is no {program}");
                return None;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let date = channel.strip_prefix("nightly-").unwrap_or("2026-04-16");
        let dist = directory.path().join("server");
        fs::create_dir_all(dist.join("dist").join(date)).unwrap();
        let mut case = Self {
            channel: channel.to_owned(),
            date: date.to_owned(),
            server: serve(dist),
            directory,
        };
        let manifest = case.publish(version);
        case.install(&manifest);
        case.describe(&format!("[toolchain]\nchannel = \"{channel}\"\n"));
        Some(case)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn installed(&self) -> PathBuf {
        self.at("rustup/toolchains")
            .join(format!("{}-{HOST}", self.channel))
    }

    fn describe(&self, toolchain: &str) {
        write(&self.at("workspace/rust-toolchain.toml"), toolchain);
        let images = "version = 1\n[images.a]\nbinaries = [\"a\"]\n";
        write(&self.at("workspace/images.toml"), images);
        let packages = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n";
        write(&self.at("workspace/Cargo.lock"), packages);
        let debian = r#"{"version": 1, "suites": [], "snapshot": "20260712T101637Z", "sets": {},
            "packages": {}}"#;
        write(&self.at("workspace/debian.lock"), debian);
    }

    /// Publishes the archives and the manifest on the server, and returns the manifest.
    fn publish(&mut self, version: &str) -> String {
        let name = match self.channel.split_once('-') {
            Some((channel, _)) => channel.to_owned(),
            None => self.channel.clone(),
        };
        let mut text = format!("manifest-version = \"2\"\ndate = \"{}\"\n", self.date);
        for (component, archive, files) in COMPONENTS {
            text += &format!("[pkg.{component}]\nversion = \"{version} (0123456 2026-04-14)\"\n");
            let file = format!("dist/{}/{archive}-{name}-{HOST}.tar.xz", self.date);
            let hash = self.pack(component, &format!("{archive}-{name}-{HOST}"), files, &file);
            text += &target(component, HOST, &file, &hash);
            let other = file.replace(HOST, OTHER);
            text += &target(component, OTHER, &other, &"0".repeat(64));
        }
        text += "[renames.clippy]\nto = \"clippy-preview\"\n[renames.rustfmt]\nto = \
                 \"rustfmt-preview\"\n";
        let path = match name == self.channel {
            true => format!("server/dist/channel-rust-{name}.toml"),
            false => format!("server/dist/{}/channel-rust-{name}.toml", self.date),
        };
        write(&self.at(&path), &text);
        let sum = format!("{}  channel-rust-{name}.toml\n", sha256(text.as_bytes()));
        write(&self.at(&format!("{path}.sha256")), &sum);
        text
    }

    fn pack(&self, component: &str, whole: &str, files: &[(&str, &str)], to: &str) -> String {
        let stage = self.at("stage");
        let part = format!("{component}-part");
        write(&stage.join(whole).join("components"), &format!("{part}\n"));
        let inside = stage.join(whole).join(&part);
        write(&inside.join("manifest.in"), &list(files));
        place(&inside, files);
        let archive = self.at("server").join(to);
        let packed = Command::new("tar")
            .args(["-C", &stage.to_string_lossy(), "-cJf"])
            .arg(&archive)
            .arg(whole)
            .status();
        assert!(packed.unwrap().success());
        fs::remove_dir_all(stage).unwrap();
        sha256(&fs::read(archive).unwrap())
    }

    /// Installs the release as rustup does.
    fn install(&self, manifest: &str) {
        let root = self.installed();
        for (component, _, files) in COMPONENTS {
            place(&root, files);
            let file = format!("lib/rustlib/manifest-{component}-{HOST}");
            write(&root.join(file), &list(files));
        }
        let own = "lib/rustlib/multirust-channel-manifest.toml";
        write(&root.join(own), manifest);
    }

    fn assemble(&self, arguments: &[&str], rustup: bool, server: &str) -> Output {
        let rustup = self.at(if rustup { "rustup" } else { "no-rustup" });
        Command::new(env!("CARGO_BIN_EXE_assemble"))
            .args(arguments)
            .current_dir(self.at("workspace"))
            .env("RUSTUP_HOME", rustup)
            .env("RUSTUP_DIST_SERVER", server)
            .env("CARGO_HOME", self.at("cargo"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Writes the lock, and returns its text.
    fn lock(&self, rustup: bool, server: &str) -> String {
        let _ = fs::remove_file(self.at("workspace/toolchain.lock"));
        succeed(&self.assemble(&["lock", "--without-debian"], rustup, server));
        fs::read_to_string(self.at("workspace/toolchain.lock")).unwrap()
    }

    /// Fetches into its own store. Returns the messages, and the components' paths there.
    fn fetch(&self, rustup: bool, server: &str) -> (Output, Vec<String>) {
        let store = self.at(&format!("store-{rustup}-{}", server == NOBODY));
        let output = self.assemble(
            &["fetch", "--store", &store.to_string_lossy()],
            rustup,
            server,
        );
        let entries = fs::read_dir(store.join("nix/store"));
        let entries = entries.into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let is_component = |name: &String| {
            COMPONENTS
                .iter()
                .any(|(_, short, _)| name[33..].starts_with(short))
                && !name.contains(".tar.xz")
        };
        let long = names.filter(|name| name.len() > 33);
        let mut paths: Vec<String> = long.filter(is_component).collect();
        paths.sort();
        (output, paths)
    }
}

impl Drop for Case {
    /// Store files are read-only.
    fn drop(&mut self) {
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(self.directory.path())
            .status();
    }
}

fn target(component: &str, platform: &str, path: &str, hash: &str) -> String {
    format!(
        "[pkg.{component}.target.{platform}]\navailable = true\nurl = \"\"\nhash = \"\"\n\
         xz_url = \"https://static.example/{path}\"\nxz_hash = \"{hash}\"\n"
    )
}

fn list(files: &[(&str, &str)]) -> String {
    files
        .iter()
        .map(|(path, _)| format!("file:{path}\n"))
        .collect()
}

fn place(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        write(&root.join(path), text);
        let mode = if path.starts_with("bin/") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Serves a directory on the loopback address until the test's process ends, and returns the
/// address.
fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let directory = directory.clone();
            std::thread::spawn(move || answer(stream, &directory));
        }
    });
    address
}

fn answer(stream: TcpStream, directory: &Path) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    lines.map_while(Result::ok).find(String::is_empty)?;
    let path = request
        .split(' ')
        .nth(1)?
        .trim_start_matches('/')
        .to_owned();
    let (status, body) = match fs::read(directory.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    if !request.starts_with("HEAD") {
        stream.write_all(&body).ok()?;
    }
    Some(())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeed(output: &Output) -> String {
    let said = said(output);
    assert!(output.status.success(), "{said}");
    said
}

fn fail(output: &Output, expected: &[&str]) {
    let said = said(output);
    assert!(!output.status.success(), "{said}");
    for text in expected {
        assert!(said.contains(text), "{text:?} is not in\n{said}");
    }
}

/// Returns the SHA-256 of the files in a lock, by component.
fn pinned(lock: &str) -> BTreeMap<String, String> {
    let lock: serde_json::Value = serde_json::from_str(lock).unwrap();
    let components = lock["components"].as_object().unwrap().iter();
    components
        .map(|(name, pins)| {
            (
                name.clone(),
                pins[HOST]["files"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

#[test]
fn rustup_and_the_server_give_the_same_lock_and_the_same_paths() {
    let Some(case) = Case::new("1.95.0", "1.95.0") else {
        return;
    };
    let by_rustup = case.lock(true, NOBODY);
    let by_server = case.lock(false, &case.server);
    assert_eq!(by_rustup, by_server);
    assert_eq!(pinned(&by_rustup).len(), COMPONENTS.len());
    assert!(by_rustup.contains(
        "\"rustc\": {\n      \"aarch64-unknown-linux-gnu\": {\"archive\": \
         \"dist/2026-04-16/rustc-1.95.0-aarch64"
    ));

    let (output, of_rustup) = case.fetch(true, NOBODY);
    let text = succeed(&output);
    assert!(
        text.contains("Rust 1.95.0: 5 from the rustup toolchain 1.95.0-x86_64-unknown-linux-gnu"),
        "{text}"
    );
    let (output, of_server) = case.fetch(false, &case.server);
    let text = succeed(&output);
    assert!(
        text.contains(&format!("Rust 1.95.0: 5 from {}", case.server)),
        "{text}"
    );
    assert_eq!(of_rustup, of_server);
    assert_eq!(of_rustup.len(), COMPONENTS.len());
    let (output, _) = case.fetch(true, NOBODY);
    assert!(succeed(&output).contains("Rust 1.95.0: 5 present"));
    // If nothing needs to change, nothing changes.
    let again = case.assemble(&["lock", "--without-debian", "--check"], false, NOBODY);
    fail(&again, &["distribution server"]);
    succeed(&case.assemble(&["lock", "--without-debian", "--check"], true, NOBODY));
}

#[test]
fn a_nights_build_has_its_date_in_its_names() {
    let Some(case) = Case::new("nightly-2026-05-20", "1.97.0-nightly") else {
        return;
    };
    assert_eq!(case.lock(true, NOBODY), case.lock(false, &case.server));
    let (output, paths) = case.fetch(true, NOBODY);
    succeed(&output);
    assert!(
        paths.iter().any(|path| path.ends_with(concat!(
            "-rustc-1.97.0-nightly-2026-05-20",
            "-x86_64-unknown-linux-gnu"
        ))),
        "{paths:?}"
    );
}

#[test]
fn altered_files_are_refused_with_both_hashes() {
    let Some(case) = Case::new("1.95.0", "1.95.0") else {
        return;
    };
    let lock = case.lock(true, NOBODY);
    let expected = &pinned(&lock)["rustc"];
    fs::write(case.installed().join("lib/librustc_driver.so"), "another").unwrap();
    let (output, paths) = case.fetch(true, NOBODY);
    fail(
        &output,
        &[
            "the component `rustc`",
            "was changed",
            expected,
            "rustup toolchain install 1.95.0",
        ],
    );
    assert!(
        !paths.iter().any(|path| path.contains("rustc-1.95.0")),
        "{paths:?}"
    );
}

#[test]
fn a_missing_component_is_named_with_what_adds_it() {
    let Some(case) = Case::new("1.95.0", "1.95.0") else {
        return;
    };
    case.lock(true, NOBODY);
    fs::remove_file(
        case.installed()
            .join(format!("lib/rustlib/manifest-clippy-preview-{HOST}")),
    )
    .unwrap();
    // There is no other source offline. A server has the component.
    let (output, _) = case.fetch(true, NOBODY);
    let text = succeed(&output);
    assert!(text.contains("4 from the rustup toolchain"), "{text}");
    assert!(
        text.contains("rustup component add clippy --toolchain 1.95.0-x86_64-unknown-linux-gnu"),
        "{text}"
    );
    let (output, _) = case.fetch(true, &case.server);
    let text = succeed(&output);
    assert!(text.contains("4 from the rustup toolchain"), "{text}");
    assert!(text.contains(&format!("1 from {}", case.server)), "{text}");
}

#[test]
fn a_server_that_lies_is_refused() {
    let Some(case) = Case::new("1.95.0", "1.95.0") else {
        return;
    };
    let lock = case.lock(true, NOBODY);
    let archive = "server/dist/2026-04-16/cargo-1.95.0-x86_64-unknown-linux-gnu.tar.xz";
    fs::write(case.at(archive), "not what was published").unwrap();
    let (output, paths) = case.fetch(false, &case.server);
    let given = sha256(b"not what was published");
    fail(&output, &["is refused", &given, "toolchain.lock has"]);
    assert!(paths.is_empty(), "{paths:?}");
    // A manifest that does not match its checksum is refused, too.
    let manifest = case.at("server/dist/channel-rust-1.95.0.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("2026-04-16", "2026-04-17")).unwrap();
    let output = case.assemble(&["lock", "--without-debian"], false, &case.server);
    fail(&output, &["is refused", "its own checksum file"]);
    let kept = fs::read_to_string(case.at("workspace/toolchain.lock")).unwrap();
    assert_eq!(kept, lock);
}

#[test]
fn offline_without_rustup_it_is_said_what_to_install() {
    let Some(case) = Case::new("1.95.0", "1.95.0") else {
        return;
    };
    let output = case.assemble(&["lock", "--without-debian"], false, NOBODY);
    fail(&output, &["rustup toolchain install 1.95.0", NOBODY]);
    assert!(!case.at("workspace/toolchain.lock").exists());
}

#[test]
fn channels_that_do_not_exist_are_quoted_with_their_line() {
    let Some(case) = Case::new("1.95.0", "1.95.0") else {
        return;
    };
    for (text, expected) in [
        (
            "[toolchain]\nchannel = \"stabel\"\n",
            "rust-toolchain.toml:2: `stabel` is not a channel",
        ),
        (
            "[toolchain]\npath = \"/opt/rust\"\n",
            "rust-toolchain.toml:2: `path = \"/opt/rust\"`",
        ),
    ] {
        case.describe(text);
        let output = case.assemble(&["lock", "--without-debian"], true, NOBODY);
        fail(&output, &[expected]);
    }
    // A well-formed name that the server does not know.
    case.describe("[toolchain]\nchannel = \"1.999.0\"\n");
    let output = case.assemble(&["lock", "--without-debian"], true, &case.server);
    fail(&output, &["1.999.0", "404"]);
    // A target that the release lacks.
    case.describe("[toolchain]\nchannel = \"1.95.0\"\ntargets = [\"z80-unknown-none\"]\n");
    let output = case.assemble(&["lock", "--without-debian"], true, NOBODY);
    fail(&output, &["no component `rust-std` for z80-unknown-none"]);
}

/// Runs `assemble init` in a workspace, and returns its output.
fn init(workspace: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_assemble"))
        .arg("init")
        .current_dir(workspace)
        .env("XDG_STATE_HOME", workspace.join("state"))
        .output()
        .unwrap();
    succeed(&output)
}

#[test]
fn init_asks_for_a_lock_only_where_crateyards_own_is_not_enough() {
    let next = |toolchain: &str, images: Option<&str>| {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        write(
            &at("Cargo.toml"),
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\n",
        );
        write(&at("src/main.rs"), "fn main() {}\n");
        write(&at("rust-toolchain.toml"), toolchain);
        if let Some(images) = images {
            let begin = "version = 1\n[images.a]\nbinaries = [\"a\"]\n";
            write(&at("images.toml"), &format!("{begin}{images}"));
        }
        init(directory.path())
    };
    let own = "[toolchain]\nchannel = \"1.95.0\"\ncomponents = [\"clippy\"]\n";
    let said = next(own, None);
    assert!(said.contains("the compiler is Rust 1.95.0: rust-toolchain.toml says so"));
    assert!(
        said.ends_with("next:\n  assemble fetch\n  assemble build a\n"),
        "{said}"
    );
    for (toolchain, images) in [
        ("[toolchain]\nchannel = \"1.94.0\"\n", None),
        (own, Some("[toolchain]\nrelease = \"1.94.0\"\n")),
        (
            own,
            Some("build = { target = \"x86_64-unknown-linux-musl\" }\nbase = \"none\"\n"),
        ),
    ] {
        let said = next(toolchain, images);
        assert!(said.contains("next:\n  assemble lock\n"), "{said}");
    }
}

/// Cargo refuses to build a dependency with an older release than it wants.
#[test]
fn init_writes_the_release_that_a_dependency_wants() {
    let written = |kind: &str, wants: &str| {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        write(
            &at("Cargo.toml"),
            &format!(
                "[package]\nname = \"a\"\nversion = \"0.1.0\"\n[workspace]\nexclude = [\"b\"]\n\
                 [{kind}]\nb = {{ path = \"b\" }}\n"
            ),
        );
        write(
            &at("Cargo.lock"),
            "version = 4\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\ndependencies = \
             [\"b\"]\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n",
        );
        write(
            &at("b/Cargo.toml"),
            &format!(
                "[package]\nname = \"b\"\nversion = \"0.1.0\"\nrust-version = {wants:?}\n\
                 [workspace]\n"
            ),
        );
        write(&at("src/main.rs"), "fn main() {}\n");
        write(&at("b/src/lib.rs"), "");
        (
            init(directory.path()),
            fs::read_to_string(at("images.toml")).unwrap(),
        )
    };
    let (said, images) = written("dependencies", "1.99");
    assert!(
        images.ends_with("\n# b wants at least 1.99\n[toolchain]\nrelease = \"1.99.0\"\n"),
        "{images}"
    );
    assert!(
        said.contains("the compiler is Rust 1.99.0: b wants at least 1.99"),
        "{said}"
    );
    assert!(said.contains("next:\n  assemble lock\n"), "{said}");
    for (kind, wants) in [("dev-dependencies", "1.99"), ("dependencies", "1.80")] {
        let (said, images) = written(kind, wants);
        assert!(!images.contains("release"), "{images}");
        assert!(
            said.ends_with("next:\n  assemble fetch\n  assemble build a\n"),
            "{said}"
        );
    }
}
