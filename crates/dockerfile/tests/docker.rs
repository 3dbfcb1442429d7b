//! The generated Dockerfile on a real engine: the crates that an edit compiles again, the exported
//! files, and the savings of a prebuilt builder.
//!
//! The tests need an engine with buildx 0.15 or newer, and a toolchain. Either
//! `CRATEYARD_BUILDER_IMAGE` names an image of the engine with Cargo, a linker and a shell, or the
//! workspace has the layout `.crateyard/layouts/builder-image`.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crateyard_dockerfile::DOCKERFILE;
use fixture::for_workspace;
use tempfile::TempDir;

mod fixture;

const MEMBERS: [&str; 4] = ["fleet", "gateway", "marks", "supervisor"];

/// A workspace with its generated files, and the settings for calls of the engine.
struct Build {
    workspace: TempDir,
    vendor: TempDir,
    toolchain: String,
}

/// The crates that one call compiled, and its log.
struct Outcome {
    success: bool,
    compiled: BTreeSet<String>,
    log: String,
}

impl Build {
    /// Makes a workspace that no build has seen before, or returns the reason why that is
    /// impossible.
    fn of(fixture: &str) -> Result<Build, String> {
        let toolchain = toolchain()?;
        let workspace = fixture::copy_of(fixture);
        let path = workspace.path();
        // The engine keeps its results. A unique variable makes this workspace's dependencies new.
        let unique = path.display().to_string();
        let config = path.join(".cargo/config.toml");
        let text = fs::read_to_string(&config).unwrap_or_default();
        fs::create_dir_all(path.join(".cargo")).unwrap();
        fs::write(config, format!("{text}\n[env]\nFIXTURE = \"{unique}\"\n")).unwrap();
        let vendor = tempfile::tempdir().unwrap();
        let output = Command::new("cargo")
            .args(["vendor", "--locked", "--versioned-dirs"])
            .arg(vendor.path())
            .current_dir(path)
            .output()
            .map_err(|error| format!("there is no cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo vendor failed: {}", text_of(&output)));
        }
        let build = Build {
            workspace,
            vendor,
            toolchain,
        };
        build.generate();
        Ok(build)
    }

    fn generate(&self) {
        for (name, text) in for_workspace(self.path()).unwrap() {
            fs::write(self.path().join(name), text).unwrap();
        }
    }

    fn path(&self) -> &Path {
        self.workspace.path()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        fixture::edit(self.path(), file, from, to);
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        let there = fs::read_to_string(&path).unwrap();
        fs::write(path, there + text).unwrap();
    }

    fn docker(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new("docker");
        command.args(["buildx", "build", "--progress=plain", "--file", DOCKERFILE]);
        for (context, at) in [
            ("builder-image", &self.toolchain),
            ("base-image", &self.toolchain),
        ] {
            command
                .arg("--build-context")
                .arg(format!("{context}={at}"));
        }
        command
            .arg("--build-context")
            .arg(format!("vendor={}", self.vendor.path().display()));
        let output = command
            .args(arguments)
            .arg(".")
            .current_dir(self.path())
            .output()
            .unwrap();
        let log = text_of(&output);
        Outcome {
            success: output.status.success(),
            compiled: compiled(&log),
            log,
        }
    }

    /// Builds a target only for its log.
    fn target(&self, target: &str) -> BTreeSet<String> {
        let outcome = self.docker(&["--target", target, "--output=type=cacheonly"]);
        assert!(outcome.success, "{}", outcome.log);
        outcome.compiled
    }

    /// Exports a target into a directory.
    fn exported(&self, target: &str, more: &[&str]) -> TempDir {
        let out = tempfile::tempdir().unwrap();
        let output = format!("--output=type=local,dest={}", out.path().display());
        let outcome = self.docker(&[&["--target", target, &output], more].concat());
        assert!(outcome.success, "{}", outcome.log);
        out
    }
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Returns the crates that Cargo reports as compiled.
fn compiled(log: &str) -> BTreeSet<String> {
    log.lines()
        .filter_map(|line| line.split_once(" Compiling ")?.1.split(' ').next())
        .map(str::to_string)
        .collect()
}

fn toolchain() -> Result<String, String> {
    for arguments in [&["buildx", "version"][..], &["info"]] {
        let output = Command::new("docker").args(arguments).output();
        let output = output.map_err(|error| format!("there is no docker: {error}"))?;
        if !output.status.success() {
            let said = text_of(&output);
            let last = said.trim().lines().last().unwrap_or_default();
            return Err(format!("`docker {}` failed: {last}", arguments.join(" ")));
        }
    }
    if let Some(image) = std::env::var_os("CRATEYARD_BUILDER_IMAGE") {
        return Ok(format!("docker-image://{}", image.to_string_lossy()));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let layout: PathBuf = root.join(".crateyard/layouts/builder-image");
    match fs::canonicalize(&layout) {
        Ok(layout) => Ok(format!("oci-layout://{}", layout.display())),
        Err(_) => Err(format!(
            "there is no toolchain: CRATEYARD_BUILDER_IMAGE is not set, {} is missing",
            layout.display()
        )),
    }
}

/// Returns a build of the workspace, or prints the reason why the test is skipped.
fn build_or_skip(test: &str) -> Option<Build> {
    build_of_or_skip("workspace", test)
}

fn build_of_or_skip(fixture: &str, test: &str) -> Option<Build> {
    Build::of(fixture)
        .map_err(|reason| fixture::skipped(test, &reason))
        .ok()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn an_edit_compiles_what_depends_on_it_and_nothing_else() {
    let Some(build) = build_or_skip("an_edit_compiles_what_depends_on_it_and_nothing_else") else {
        return;
    };
    let both = |build: &Build| {
        (
            build.target("gateway-output"),
            build.target("supervisor-output"),
        )
    };
    let none = BTreeSet::new();

    let (gateway, supervisor) = both(&build);
    let everything = set(&[&MEMBERS[..], &["itoa"]].concat());
    assert_eq!(gateway, everything, "cold");
    assert_eq!(supervisor, set(&["supervisor"]), "cold, after the other");
    assert_eq!(
        both(&build),
        (none.clone(), none.clone()),
        "nothing changed"
    );

    build.append("crates/supervisor/src/main.rs", "// edited\n");
    assert_eq!(
        both(&build),
        (none.clone(), set(&["supervisor"])),
        "an edit in supervisor"
    );

    build.append("crates/gateway/src/main.rs", "// edited\n");
    // The supervisor's placeholder in the gateway's stage is unchanged.
    assert_eq!(
        both(&build),
        (set(&["gateway"]), none.clone()),
        "an edit in gateway"
    );

    build.append("proto/api.proto", "// edited\n");
    assert_eq!(
        both(&build),
        (set(&["gateway"]), none.clone()),
        "an edit in a declared file"
    );

    build.append("crates/gateway/README.md", "edited\n");
    build.append("crates/gateway/tests/api.rs", "// edited\n");
    build.append("crates/unused/src/main.rs", "// edited\n");
    build.append("README.md", "edited\n");
    assert_eq!(
        both(&build),
        (none.clone(), none.clone()),
        "an edit in a README, a test, an unused crate"
    );

    build.edit(
        "Cargo.toml",
        "unused_imports = \"warn\"",
        "unused_imports = \"deny\"",
    );
    build.edit("Cargo.toml", "version = \"0.1.0\"", "version = \"0.1.7\"");
    let (gateway, supervisor) = both(&build);
    assert!(
        !gateway.is_empty(),
        "a version bump must reach the programs"
    );
    let members = set(&MEMBERS);
    assert!(
        gateway.is_subset(&members),
        "a version bump compiled {gateway:?}"
    );
    assert!(
        supervisor.is_subset(&members),
        "a version bump compiled {supervisor:?}"
    );

    build.append("crates/fleet/src/lib.rs", "// edited\n");
    let (gateway, supervisor) = both(&build);
    assert!(
        gateway.contains("fleet") && gateway.is_subset(&members),
        "shared code: {gateway:?}"
    );
    assert_eq!(
        supervisor,
        set(&["supervisor"]),
        "shared code, compiled once"
    );
}

#[test]
fn the_output_stage_is_the_program_and_nothing_else() {
    let Some(build) = build_or_skip("the_output_stage_is_the_program_and_nothing_else") else {
        return;
    };
    let out = build.exported("gateway-output", &[]);
    let names: Vec<_> = fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["gateway"]);
    let said = Command::new(out.path().join("gateway")).output().unwrap();
    assert_eq!(text_of(&said), "hello gateway 42 marked syntax 0.1.0\n");

    let again = build.exported("gateway-output", &["--no-cache"]);
    let bytes = |directory: &TempDir| fs::read(directory.path().join("gateway")).unwrap();
    assert!(
        bytes(&out) == bytes(&again),
        "two builds gave different bytes"
    );
}

#[test]
fn a_prebuilt_builder_compiles_nothing_and_must_have_the_program() {
    let Some(build) =
        build_or_skip("a_prebuilt_builder_compiles_nothing_and_must_have_the_program")
    else {
        return;
    };
    // The last part of the tag is unique to this test.
    let unique = build
        .path()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .to_lowercase();
    let tag = format!("crateyard-test-builder:{}", unique.trim_start_matches('.'));
    let outcome = build.docker(&["--target=builder", "--output=type=docker", "--tag", &tag]);
    assert!(outcome.success, "{}", outcome.log);
    let context = format!("prebuilt=docker-image://{tag}");
    let prebuilt = [
        "--build-arg=BUILDER_IMAGE=prebuilt",
        "--build-context",
        &context,
    ];

    build.append(
        "crates/fleet/src/lib.rs",
        "compile_error!(\"nothing is compiled\");\n",
    );
    for target in ["gateway", "gateway-bare", "supervisor"] {
        let outcome = build.docker(
            &[
                &["--target", target, "--output=type=cacheonly"],
                &prebuilt[..],
            ]
            .concat(),
        );
        assert!(outcome.success, "{target}: {}", outcome.log);
        assert_eq!(outcome.compiled, BTreeSet::new(), "{target}");
        assert!(
            !outcome.log.contains("[dependencies"),
            "{target} is not pruned: {}",
            outcome.log
        );
    }

    fourteen_variants_compile_nothing(&build, &context);

    let toolchain = ["--build-arg=BUILDER_IMAGE=builder-image"];
    let outcome = build.docker(
        &[
            &["--target=gateway", "--output=type=cacheonly"],
            &toolchain[..],
        ]
        .concat(),
    );
    assert!(!outcome.success);
    assert!(
        outcome.log.contains("test -x /out/gateway"),
        "{}",
        outcome.log
    );
    let _ = Command::new("docker").args(["image", "rm", &tag]).output();
}

/// Builds all variants in one call of bake, with an existing builder.
fn fourteen_variants_compile_nothing(build: &Build, prebuilt: &str) {
    let names: Vec<String> = (1..=14).map(|number| format!("v{number}")).collect();
    for name in &names {
        let variant = format!(
            "\n[images.gateway.variants.{name}]\nenvironment = {{ VARIANT = \"{name}\" }}\n"
        );
        build.append("images.toml", &variant);
    }
    build.generate();
    let output = Command::new("docker")
        .args(["buildx", "bake", "--progress=plain"])
        .args(["--set=*.output=type=cacheonly"])
        .arg(format!("--set=*.contexts.{prebuilt}"))
        .args(names.iter().map(|name| format!("gateway-{name}")))
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
        .env("BUILDER_IMAGE", "prebuilt")
        .env("TOOLCHAIN", &build.toolchain)
        .env("BASE", &build.toolchain)
        .current_dir(build.path())
        .output()
        .unwrap();
    let log = text_of(&output);
    assert!(output.status.success(), "{log}");
    assert_eq!(compiled(&log), BTreeSet::new());
    assert!(!log.contains("RUN --network=none"), "not pruned: {log}");
    for name in &names {
        assert!(log.contains(&format!("[gateway-{name}")), "{name}: {log}");
    }
}

/// The directory of the root's own package holds everything, and not all of it is copied.
#[test]
fn a_package_at_the_root_with_two_programs_is_built() {
    let test = "a_package_at_the_root_with_two_programs_is_built";
    let Some(build) = build_of_or_skip("solo", test) else {
        return;
    };
    let said = |target: &str, program: &str| {
        let out = build.exported(target, &[]);
        text_of(&Command::new(out.path().join(program)).output().unwrap())
    };
    assert_eq!(said("solo-output", "solo"), "7 built\n");
    assert_eq!(said("solo-other-output", "solo-other"), "other\n");
    build.append("tests/t.rs", "// edited\n");
    assert_eq!(
        build.target("solo-output"),
        BTreeSet::new(),
        "an edit in a test"
    );
    build.append("src/helper.rs", "// edited\n");
    assert_eq!(
        build.target("solo-output"),
        set(&["solo"]),
        "an edit in a module"
    );
}

#[test]
fn an_image_is_what_the_description_says() {
    let Some(build) = build_or_skip("an_image_is_what_the_description_says") else {
        return;
    };
    let out = build.exported("gateway-bare", &[]);
    let mode = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::symlink_metadata(out.path().join(path)).unwrap();
        format!("{:o}", metadata.mode() & 0o7777)
    };
    assert_eq!(mode("usr/bin/gateway"), "755");
    assert_eq!(mode("etc/app/run"), "755");
    assert_eq!(mode("etc/app/a.conf"), "644");
    assert_eq!(mode("srv/README.md"), "640");
    assert_eq!(mode("srv"), "700");
    // Nobody asked for this image, but the build must find its contents.
    assert_eq!(mode("etc"), "755");
    let link = fs::read_link(out.path().join("usr/bin/gw")).unwrap();
    assert_eq!(link, Path::new("gateway"));
    let accounts = fs::read_to_string(out.path().join("etc/passwd")).unwrap();
    assert!(accounts.contains("app:x:10001:10001:"), "{accounts}");
}

/// Makes a command that runs a program where the engine runs. The tests' own engine has its own
/// network, which `ENGINE_NETWORK` names.
fn where_the_engine_is(program: &str) -> Command {
    let Ok(network) = std::env::var("ENGINE_NETWORK") else {
        return Command::new(program);
    };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={network}")).arg(program);
    command
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("there is no free port: {error}"))
}

/// A registry that the engine reaches. It ends on drop.
struct Registry {
    process: Child,
    address: String,
    directory: TempDir,
}

impl Registry {
    /// Starts a registry where the engine runs. The tests' own engine has its own network, which
    /// `ENGINE_NETWORK` names.
    fn start() -> Result<Registry, String> {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port()?);
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n",
            directory.path().display()
        );
        fs::write(&config, text).unwrap();
        let process = where_the_engine_is("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("there is no docker-registry: {error}"))?;
        Ok(Registry {
            process,
            address,
            directory,
        })
    }

    /// Returns the tags of a repository, read from the registry's files.
    fn tags(&self, repository: &str) -> BTreeSet<String> {
        let tags = format!("docker/registry/v2/repositories/{repository}/_manifests/tags");
        let entries = fs::read_dir(self.directory.path().join(tags)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A process that ended by itself is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_pull_request_reads_mains_cache_and_writes_its_own() {
    let test = "a_pull_request_reads_mains_cache_and_writes_its_own";
    let Some(build) = build_or_skip(test) else {
        return;
    };
    let registry = match Registry::start() {
        Ok(registry) => registry,
        Err(reason) => return fixture::skipped(test, &reason),
    };
    let local = tempfile::tempdir().unwrap();
    let at = |kind: &str| match kind {
        "registry" => format!("{}/cache", registry.address),
        _ => local.path().display().to_string(),
    };
    let bake = |kind: &str, scope: &str| {
        let output = Command::new("docker")
            .args(["buildx", "bake", "--progress=plain"])
            .args(["--set=*.output=type=cacheonly", "gateway-bare"])
            .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
            .env("TOOLCHAIN", &build.toolchain)
            .env("VENDOR", build.vendor.path())
            .env("CACHE", kind)
            .env("CACHE_AT", at(kind))
            .env("CACHE_SCOPE", scope)
            .env("RECIPE", "0123")
            .current_dir(build.path())
            .output()
            .unwrap();
        let log = text_of(&output);
        assert!(output.status.success(), "{kind} {scope}: {log}");
        log
    };
    let name = |scope: &str| format!("{scope}-gateway-bare-linux-amd64-0123");
    for kind in ["registry", "local"] {
        bake(kind, "main");
        let log = bake(kind, "pr-7");
        let read = match kind {
            "registry" => format!(
                "importing cache manifest from {}:{}",
                at(kind),
                name("main")
            ),
            _ => "importing cache manifest from local:".to_string(),
        };
        assert!(log.contains(&read), "{kind}: {log}");
    }
    let both = BTreeSet::from([name("main"), name("pr-7")]);
    assert_eq!(registry.tags("cache"), both);
    let written = fs::read_dir(local.path()).unwrap();
    let written = written.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert_eq!(written.collect::<BTreeSet<String>>(), both);
}

#[test]
fn every_target_passes_the_engines_own_checks() {
    let Some(build) = build_or_skip("every_target_passes_the_engines_own_checks") else {
        return;
    };
    let bundle = tempfile::tempdir().unwrap();
    let bundle = format!("bundle={}", bundle.path().display());
    let dockerfile = fs::read_to_string(build.path().join(DOCKERFILE)).unwrap();
    let stages: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| {
            line.strip_prefix("FROM ")?
                .split_once(" AS ")
                .map(|(_, name)| name)
        })
        .collect();
    assert!(stages.len() > 10, "{stages:?}");
    for stage in stages {
        let outcome = build.docker(&["--check", "--target", stage, "--build-context", &bundle]);
        assert!(outcome.success, "{stage}: {}", outcome.log);
        assert!(
            outcome.log.contains("no warnings found"),
            "{stage}: {}",
            outcome.log
        );
    }
}

/// Returns the plan that bake prints with these variables.
fn bake_plan(build: &Build, variables: &[(&str, &str)]) -> serde_json::Value {
    // The exporter needs the directory of its archives to exist.
    fs::create_dir_all(build.path().join(".crateyard/bundle")).unwrap();
    let output = Command::new("docker")
        .args(["buildx", "bake", "--print"])
        .args(["default", "outputs", "archives", "builder", "dependencies"])
        .envs(variables.iter().copied())
        .current_dir(build.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn caches_are_for_an_owner_a_target_a_platform_and_a_recipe() {
    let test = "caches_are_for_an_owner_a_target_a_platform_and_a_recipe";
    let Some(build) = build_or_skip(test) else {
        return;
    };
    let scope = |owner: &str, target: &str| format!("{owner}-{target}-linux-amd64-0123");
    for (kind, field, before) in [
        ("registry", "ref", "registry.example.org/cache:"),
        ("gha", "scope", ""),
    ] {
        let plan = bake_plan(
            &build,
            &[
                ("CACHE", kind),
                ("CACHE_AT", "registry.example.org/cache"),
                ("CACHE_SCOPE", "pr-7"),
                ("RECIPE", "0123"),
            ],
        );
        let gateway = &plan["target"]["gateway"];
        assert_eq!(gateway["tags"], serde_json::json!(["gateway:0.1.0"]));
        let named = |direction: &str| -> Vec<(String, String)> {
            let caches = gateway[direction].as_array().unwrap().iter();
            let text = |cache: &serde_json::Value, field: &str| {
                cache[field].as_str().unwrap_or_default().to_owned()
            };
            caches
                .map(|cache| (text(cache, "type"), text(cache, field)))
                .collect()
        };
        let wanted = |owner: &str, target: &str| {
            (kind.to_owned(), format!("{before}{}", scope(owner, target)))
        };
        assert_eq!(named("cache-to"), [wanted("pr-7", "gateway")]);
        assert_eq!(gateway["cache-to"][0]["mode"], "max");
        let read = [
            wanted("pr-7", "gateway"),
            wanted("main", "gateway"),
            wanted("pr-7", "dependencies"),
            wanted("main", "dependencies"),
        ];
        assert_eq!(named("cache-from"), read);
    }
}

#[test]
fn codegen_units_reach_dependencies_and_members() {
    let Some(build) = build_or_skip("codegen_units_reach_dependencies_and_members") else {
        return;
    };
    build.append(".cargo/config.toml", "\n[term]\nverbose = true\n");
    let outcome = build.docker(&[
        "--target=gateway-output",
        "--output=type=cacheonly",
        "--build-arg=CODEGEN_UNITS=1",
    ]);
    assert!(outcome.success, "{}", outcome.log);
    for package in ["itoa", "fleet", "gateway"] {
        let name = format!("--crate-name {package} ");
        let mut calls = outcome.log.lines().filter(|line| line.contains(&name));
        assert!(
            calls.all(|call| call.contains("codegen-units=1 ")),
            "{package}: {}",
            outcome.log
        );
        assert!(outcome.log.contains(&name), "{package}: {}", outcome.log);
    }
}

/// A directory of repositories that git serves where the engine runs. The server ends on drop.
struct Repositories {
    process: Child,
    address: String,
}

impl Repositories {
    fn serve(directory: &Path) -> Result<Repositories, String> {
        let port = free_port()?;
        // Runs the daemon directly: ending `git` would leave its child running.
        let programs = Command::new("git").arg("--exec-path").output();
        let programs = programs.map_err(|error| format!("there is no git: {error}"))?;
        let daemon = format!("{}/git-daemon", text_of(&programs).trim());
        let process = where_the_engine_is(&daemon)
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", directory.display()))
            .spawn()
            .map_err(|error| format!("there is no {daemon}: {error}"))?;
        let served = Repositories {
            process,
            address: format!("git://127.0.0.1:{port}"),
        };
        let answers = || {
            let listed = where_the_engine_is("git")
                .arg("ls-remote")
                .arg(format!("{}/workspace", served.address))
                .output();
            listed.is_ok_and(|output| output.status.success())
        };
        for _ in 0..50 {
            if answers() {
                return Ok(served);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Err("git serves nothing".to_owned())
    }
}

impl Drop for Repositories {
    fn drop(&mut self) {
        // A process that ended by itself is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Files that are in the directory but not in the revision get into no image.
#[test]
fn a_revision_is_built_in_place_of_the_directory() {
    let test = "a_revision_is_built_in_place_of_the_directory";
    let Some(build) = build_or_skip(test) else {
        return;
    };
    let bare = tempfile::tempdir().unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "commit",
            "--quiet",
            "--message=t",
        ],
        &[
            "clone",
            "--quiet",
            "--bare",
            ".",
            &bare.path().join("workspace").to_string_lossy(),
        ],
    ] {
        let status = Command::new("git")
            .args(arguments)
            .current_dir(build.path())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
    }
    let repositories = match Repositories::serve(bare.path()) {
        Ok(repositories) => repositories,
        Err(reason) => return fixture::skipped(test, &reason),
    };
    build.append(
        "crates/gateway/src/main.rs",
        "compile_error!(\"the directory is built\");\n",
    );
    let out = tempfile::tempdir().unwrap();
    let output = Command::new("docker")
        .args(["buildx", "bake", "--progress=plain", "gateway-output"])
        .arg(format!(
            "--set=*.output=type=local,dest={}",
            out.path().display()
        ))
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
        .env(
            "CONTEXT",
            format!("{}/workspace#main", repositories.address),
        )
        .env("TOOLCHAIN", &build.toolchain)
        .env("VENDOR", build.vendor.path())
        .current_dir(build.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let said = Command::new(out.path().join("gateway")).output().unwrap();
    assert_eq!(text_of(&said), "hello gateway 42 marked syntax 0.1.0\n");
}
