//! Tests `assemble build` on a small flake, in its own store, with the machine's shell as the
//! builder.

use crateyard_nix::nar;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SETTINGS: &str = "\
experimental-features = nix-command flakes
sandbox-paths = /bin=/usr/bin /usr /lib=/usr/lib /lib64=/usr/lib64
substituters =
";

/// The bytes that stand for a bootstrap program.
const PLAN: &[u8] = b"plan\n";

struct Workspace {
    directory: tempfile::TempDir,
}

impl Workspace {
    /// Makes a workspace whose only image comes from a shell script. Returns `None` if Nix can't
    /// build here, after a message.
    fn new(test: &str, script: &str) -> Option<Self> {
        let workspace = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        workspace.write(
            "images.toml",
            "version = 1\n[images.app]\nbinaries = [\"app\"]\n",
        );
        workspace.describe(": > $out");
        let trial = workspace.nix(&["build", "--no-link"]);
        if !trial.status.success() {
            let why = String::from_utf8_lossy(&trial.stderr);
            eprintln!("SKIPPED: {test}: Nix can't build here: {}", why.trim());
            return None;
        }
        workspace.describe(script);
        Some(workspace)
    }

    /// The script may name `${plan}`, which stands for a bootstrap program.
    fn describe(&self, script: &str) {
        let hash = nar::hash_of_executable(PLAN).base16();
        let flake = format!(
            r#"{{ outputs = {{ self }}: let
                sh = more: derivation ({{ system = "x86_64-linux"; builder = "/bin/sh"; }} // more);
                plan = sh {{
                    name = "bootstrap-plan";
                    args = [ "-c" "echo plan > $out; /bin/chmod +x $out" ];
                    outputHashMode = "recursive";
                    outputHashAlgo = "sha256";
                    outputHash = "{hash}";
                }};
            in {{ packages.x86_64-linux.app-image = sh {{
                name = "app-image";
                args = [ "-c" "{script}" ];
            }}; }}; }}"#
        );
        self.write("flake.nix", &flake);
    }

    fn write(&self, name: &str, text: &str) {
        let sources = self.sources();
        std::fs::create_dir_all(&sources).unwrap();
        std::fs::write(sources.join(name), text).unwrap();
    }

    fn sources(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn nix(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("nix");
        let flake = format!("path:{}#app-image", self.sources().display());
        command.args(arguments).arg("--store").arg(self.store());
        command.arg(flake).env("NIX_CONFIG", SETTINGS);
        command.output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_in("store", arguments)
    }

    /// Prepares a build in another store.
    fn command_in(&self, store: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assemble"));
        let store = self.directory.path().join(store);
        command.arg("build").arg("--store").arg(store);
        command.args(arguments);
        command.current_dir(self.sources());
        command.env("NIX_CONFIG", SETTINGS);
        command.env("XDG_STATE_HOME", self.directory.path().join("state"));
        command.env("XDG_CACHE_HOME", self.directory.path().join("cache"));
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stderr(Stdio::null()).spawn().unwrap()
    }
}

/// Returns a script that never ends. Its marker identifies it.
fn endless(marker: &str) -> String {
    format!(": {marker}; while :; do sleep 1; done")
}

/// Whether a process is running whose arguments contain the marker.
fn runs(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(marker))
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited for a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the child has not been waited for, so the process id is its own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

#[test]
fn a_killed_build_leaves_no_builder() {
    let marker = format!("killed-{}", std::process::id());
    let Some(workspace) = Workspace::new("a_killed_build_leaves_no_builder", &endless(&marker))
    else {
        return;
    };
    let mut build = workspace.start(&[]);
    wait_until("the builder starts", || runs(&marker));
    signal(&build, libc::SIGKILL);
    build.wait().unwrap();
    wait_until("the builder ends", || !runs(&marker));
    // The next build gets the lock.
    workspace.describe("echo again >&2; exit 1");
    let output = workspace.command(&[]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("again"));
}

#[test]
fn an_interrupted_build_leaves_no_builder() {
    let marker = format!("interrupted-{}", std::process::id());
    let Some(workspace) =
        Workspace::new("an_interrupted_build_leaves_no_builder", &endless(&marker))
    else {
        return;
    };
    let mut build = workspace.start(&[]);
    wait_until("the builder starts", || runs(&marker));
    signal(&build, libc::SIGINT);
    let status = build.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(!runs(&marker), "the builder outlived the interrupt");
}

#[test]
fn a_failure_is_shown_whole_and_recorded() {
    let script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i. >&2; done; exit 3";
    let Some(workspace) = Workspace::new("a_failure_is_shown_whole_and_recorded", script) else {
        return;
    };
    let output = workspace.command(&["--events", "events"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("1 to build, "), "{said}");
    assert!(
        said.contains("line 1.\n") && said.contains("line 40.\n"),
        "{said}"
    );
    assert!(
        said.contains("error: 1 failed: app-image; 0 of 1 not built"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
    let events = std::fs::read_to_string(workspace.sources().join("events")).unwrap();
    let names: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["planned", "started", "progress", "failed", "done"]);
    assert!(workspace.sources().join(".crateyard/build.json").exists());
}

#[test]
fn nix_calls_a_repository_dirty_once() {
    let Some(workspace) = Workspace::new("nix_calls_a_repository_dirty_once", "exit 3") else {
        return;
    };
    for arguments in [&["init", "--quiet"][..], &["add", "--all"]] {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(workspace.sources());
        assert!(git.status().unwrap().success());
    }
    for arguments in [&[][..], &["--", "--rebuild"]] {
        let output = workspace.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.matches("is dirty").count(), 1, "{said}");
    }
}

/// What the consoles of CI systems are known by, and who forbids colours.
const ABOUT_COLOURS: [&str; 5] = [
    "CI",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "TEAMCITY_VERSION",
    "TF_BUILD",
];

#[test]
fn a_log_has_colours_only_where_they_are_shown() {
    let script = "printf '\\\\033[31mred\\\\033[0m\\\\n' >&2; exit 3";
    let test = "a_log_has_colours_only_where_they_are_shown";
    let Some(workspace) = Workspace::new(test, script) else {
        return;
    };
    let said = |variables: &[(&str, &str)]| {
        let mut command = workspace.command(&[]);
        for name in ABOUT_COLOURS {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let (plain, coloured) = ("\nred\n", "\u{1b}[31mred\u{1b}[0m\n");
    for (variables, expected) in [
        (&[][..], plain),
        (&[("CI", "true")], coloured),
        (&[("CI", "true"), ("NO_COLOR", "")], coloured),
        (&[("CI", "true"), ("NO_COLOR", "0")], plain),
        (&[("GITHUB_ACTIONS", "true"), ("NO_COLOR", "1")], plain),
    ] {
        let said = said(variables);
        assert!(said.contains(expected), "{variables:?}: {said}");
        assert_eq!(said.contains('\u{1b}'), expected == coloured, "{said}");
    }
}

#[test]
fn a_bootstrap_program_that_was_built_is_there_for_the_next_store() {
    let test = "a_bootstrap_program_that_was_built_is_there_for_the_next_store";
    let Some(workspace) = Workspace::new(test, "read -r it < ${plan}; echo $it > $out") else {
        return;
    };
    let planned = |store: &str| {
        // The output is not an image, so the command fails after the build.
        let output = workspace.command_in(store, &[]).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let said = planned("store");
    assert!(said.contains("2 to build, "), "{said}");
    let kept = workspace.directory.path().join("cache/crateyard/bootstrap");
    let files: Vec<_> = std::fs::read_dir(kept).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::read(files[0].path()).unwrap(), PLAN);
    let said = planned("other-store");
    assert!(said.contains("1 to build, "), "{said}");
    // Other bytes are not the program. They are removed, and the build makes it again.
    std::fs::write(files[0].path(), "other").unwrap();
    let said = planned("third-store");
    assert!(said.contains("2 to build, "), "{said}");
    assert_eq!(std::fs::read(files[0].path()).unwrap(), PLAN);
}

#[test]
fn what_the_driver_does_not_know_is_left_to_nix_and_said() {
    let test = "what_the_driver_does_not_know_is_left_to_nix_and_said";
    let Some(workspace) = Workspace::new(test, "exit 3") else {
        return;
    };
    let output = workspace.command(&["--", "--rebuild"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with(
            "note: `nix build` builds in its own order: the driver does not know the argument \
             \"--rebuild\""
        ),
        "{said}"
    );
    let builders = "builders = ssh://elsewhere x86_64-linux\nmax-jobs = 1\n";
    let mut command = workspace.command(&[]);
    command.env("NIX_CONFIG", format!("{SETTINGS}{builders}"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("it has other machines to build on"), "{said}");
}
