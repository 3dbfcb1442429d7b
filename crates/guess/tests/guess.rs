//! Tests guesses for workspaces of a few files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crateyard_description::Description;
use crateyard_guess::Guess;
use tempfile::TempDir;

const MAIN: &str = "fn main() {}\n";

/// A workspace in a temporary directory.
struct Workspace {
    directory: TempDir,
    name: &'static str,
}

impl Workspace {
    fn new(name: &'static str, files: &[(&str, &str)]) -> Workspace {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace { directory, name };
        for (path, text) in files {
            workspace.write(path, text);
        }
        workspace
    }

    fn root(&self) -> std::path::PathBuf {
        self.directory.path().join(self.name)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Adds a package with a program.
    fn program(self, directory: &str, more: &str) -> Workspace {
        self.package(directory, more);
        self.write(&format!("{directory}/src/main.rs"), MAIN);
        self
    }

    fn package(&self, directory: &str, more: &str) {
        let name = Path::new(directory).file_name().unwrap().to_string_lossy();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}"
        );
        self.write(&format!("{directory}/Cargo.toml"), &manifest);
    }

    /// Makes a guess, and checks that it is a valid description.
    fn guess(&self) -> Guess {
        self.guess_owned_by(None)
    }

    /// Makes the same guess about a clone of somebody's repository.
    fn guess_owned_by(&self, owner: Option<&str>) -> Guess {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .current_dir(self.root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let metadata = String::from_utf8(output.stdout).unwrap();
        let guess = crateyard_guess::guess(&metadata, owner).unwrap();
        let described = Description::parse(&guess.text, "images.toml");
        let described = described.unwrap_or_else(|problems| panic!("{problems}\n{}", guess.text));
        let names: Vec<&String> = described.images.keys().collect();
        let guessed: Vec<&String> = guess.images.iter().collect();
        assert_eq!(names, guessed, "{}", guess.text);
        guess
    }
}

const VIRTUAL: (&str, &str) = (
    "Cargo.toml",
    "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n",
);

fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn names_are_valid_and_given_once() {
    let bin = |name: &str| format!("[[bin]]\nname = \"{name}\"\npath = \"src/main.rs\"\n");
    let guess = Workspace::new("shop", &[VIRTUAL])
        .program("crates/orders", &bin("daemon"))
        .program("crates/stock", &bin("daemon"))
        .program("crates/scale", "")
        .program("crates/weights", &bin("Scale"))
        .program("crates/base", "")
        .program("crates/unit_", "")
        .guess();
    let expected = [
        "base-app",
        "orders-daemon",
        "scale",
        "stock-daemon",
        "unit",
        "weights-scale",
    ];
    assert_eq!(guess.images, expected);
}

#[test]
fn what_needs_features_has_no_image_and_is_named() {
    let features = "[features]\ndefault = [\"fast\"]\nfast = []\nwide = []\n[[bin]]\nname = \
                    \"plain\"\npath = \"src/main.rs\"\n[[bin]]\nname = \"quick\"\npath = \
                    \"src/main.rs\"\nrequired-features = [\"fast\"]\n[[bin]]\nname = \
                    \"broad\"\npath = \"src/main.rs\"\nrequired-features = [\"wide\"]\n";
    let guess = Workspace::new("w", &[VIRTUAL])
        .program("crates/plain", features)
        .guess();
    assert_eq!(guess.images, ["plain", "quick"]);
    assert_holds(
        &guess.text,
        &["#   plain/broad: needs `features = [\"wide\"]`"],
    );
}

#[test]
fn tools_get_no_image() {
    let web = "[dependencies]\nweb-sys = \"0.3\"\n";
    let members = VIRTUAL
        .1
        .replace("*\"]", "*\", \"examples/*\", \"tools/*\"]");
    let guess = Workspace::new("w", &[("Cargo.toml", &members)])
        .program("crates/server", "")
        .program("crates/xtask", "")
        .program("crates/fuzz", "")
        .program("examples/chat", "")
        .program("tools/release", "")
        .program("crates/page", web)
        .program("crates/api-codegen", "")
        .program("crates/load-bench", "")
        .program("crates/inner", "publish = false\n")
        .guess();
    assert_eq!(guess.images, ["server"]);
    assert_holds(
        &guess.text,
        &[
            "xtask",
            "fuzzer",
            "example",
            "release",
            "WebAssembly",
            "codegen",
            "bench",
            "publish",
        ],
    );
}

#[test]
fn a_workspace_of_tools_ships_them() {
    let guess = Workspace::new("w", &[VIRTUAL])
        .program("crates/xtask", "publish = false\n")
        .guess();
    assert_eq!(guess.images, ["xtask"]);
}

#[test]
fn cargos_default_members_are_shipped() {
    let workspace = "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\ndefault-members = \
                     [\"crates/one\"]\n";
    let guess = Workspace::new("w", &[("Cargo.toml", workspace)])
        .program("crates/one", "")
        .program("crates/two", "")
        .guess();
    assert_eq!(guess.images, ["one"]);
}

#[test]
fn a_dockerfile_says_what_is_shipped_and_exposed() {
    let dockerfile = "FROM rust AS build\nRUN cargo build --release\nFROM debian\nCOPY \
                      --from=build /w/target/release/two /usr/bin/two\nENV PORT=7000\nEXPOSE $PORT \
                      53/udp\n";
    let guess = Workspace::new(
        "w",
        &[
            VIRTUAL,
            ("docker/Dockerfile", dockerfile),
            ("tests/Dockerfile", "FROM x\nCMD [\"one\"]\n"),
        ],
    )
    .program("crates/one", "")
    .program("crates/two", "publish = false\n")
    .guess();
    assert_eq!(guess.images, ["two"]);
    assert_holds(&guess.text, &["ports = [\"53/udp\", 7000]"]);
}

/// Without the capability, the image would lose something silently: the program could not listen.
#[test]
fn a_dockerfile_gives_a_program_capabilities() {
    let dockerfile = "FROM rust AS build\nRUN cargo build --release\nFROM debian\nCOPY \
                      --from=build /w/target/release/two /usr/bin/two\nRUN apt-get install \
                      libcap2-bin \\\n && setcap 'cap_net_bind_service=+ep' /usr/bin/two\n";
    let guess = Workspace::new("w", &[VIRTUAL, ("Dockerfile", dockerfile)])
        .program("crates/one", "")
        .program("crates/two", "")
        .guess();
    let binary = "binaries = [{ package = \"two\", capabilities = [\"cap_net_bind_service\"] }]\n";
    assert_holds(&guess.text, &[binary]);
    let reason = "image two: cap_net_bind_service, which Dockerfile gives two by setcap";
    assert!(
        guess.reasons.iter().any(|it| it == reason),
        "{:?}",
        guess.reasons
    );
}

/// Stages of one Dockerfile are separate images. A package that is built with `-p` may have
/// programs that none of them has.
#[test]
fn a_dockerfile_of_several_images_keeps_their_ports_apart() {
    let dockerfile = "FROM rust AS build\nRUN cargo build --release -p api -p shop\nFROM debian AS \
                      api\nCOPY --from=build /w/target/release/api /usr/bin/\nEXPOSE 80\nCMD \
                      [\"api\"]\nFROM debian AS shop\nCOPY --from=build /w/target/release/shop \
                      /usr/bin/\nEXPOSE 81\nENTRYPOINT [\"/usr/bin/shop\"]\n";
    let workspace = Workspace::new("w", &[VIRTUAL, ("Dockerfile", dockerfile)])
        .program("crates/api", "")
        .program("crates/shop", "");
    workspace.write("crates/shop/src/bin/migrate.rs", MAIN);
    let guess = workspace.guess();
    assert_eq!(guess.images, ["api", "shop"]);
    assert_holds(
        &guess.text,
        &[
            "[images.api]\nbinaries = [\"api\"]\nports = [80]\n",
            "[images.shop]\nbinaries = [\"shop\"]\nports = [81]\n",
            "shop/migrate: no Dockerfile has it",
        ],
    );
}

/// A script starts the program that its authors mean.
#[test]
fn of_several_programs_in_a_dockerfile_one_listens() {
    let dockerfile = "FROM debian\nCOPY target/release/shop target/release/reset /bin/\nEXPOSE 80\n\
                      ENTRYPOINT [\"/entrypoint.sh\"]\nCMD [\"run\"]\n";
    let guess = Workspace::new("shop", &[VIRTUAL, ("Dockerfile", dockerfile)])
        .program("crates/shop", "")
        .program("crates/reset", "")
        .guess();
    assert_eq!(guess.images, ["reset", "shop"]);
    assert_holds(&guess.text, &["binaries = [\"shop\"]\nports = [80]\n"]);
    assert_eq!(guess.text.matches("ports").count(), 1, "{}", guess.text);
}

#[test]
fn ports_are_the_programs_own() {
    let workspace = Workspace::new("w", &[VIRTUAL])
        .program("crates/first", "")
        .program("crates/second", "")
        .program("crates/third", "");
    let listen = |address: &str| format!("fn main() {{ let at = \"{address}\"; }}\n");
    workspace.write("crates/first/src/main.rs", &listen("0.0.0.0:8081"));
    workspace.write("crates/first/src/metrics.rs", &listen("0.0.0.0:9100"));
    workspace.write("crates/first/tests/serve.rs", &listen("0.0.0.0:1"));
    workspace.write(
        "crates/second/src/main.rs",
        &(listen("0.0.0.0:1") + &listen("[::]:2")),
    );
    let guess = workspace.guess();
    assert_holds(
        &guess.text,
        &["[images.first]\nbinaries = [\"first\"]\nports = [8081]\n"],
    );
    assert_eq!(guess.text.matches("ports").count(), 1, "{}", guess.text);
    let reasons = guess.reasons.join("\n");
    assert_holds(
        &reasons,
        &["image second: no port, because its sources name several"],
    );
}

/// Each program has its own port, also if they share a package.
#[test]
fn programs_of_a_package_keep_their_ports_apart() {
    let workspace = Workspace::new("w", &[VIRTUAL]).program("crates/shop", "");
    let write = |path: &str, text: &str| workspace.write(&format!("crates/shop/{path}"), text);
    let listen = |address: &str| format!("fn main() {{ let at = \"{address}\"; }}\n");
    write("src/main.rs", "mod serve;\nmod both;\nfn main() {}\n");
    write("src/serve.rs", &listen("0.0.0.0:8080"));
    write("src/both.rs", "");
    write(
        "src/bin/cli.rs",
        "#[path = \"../both.rs\"]\nmod both;\nfn main() {}\n",
    );
    write("src/bin/names/main.rs", "mod udp;\nfn main() {}\n");
    write(
        "src/bin/names/udp.rs",
        "fn f() { UdpSocket::bind(\"0.0.0.0:53\"); }\n",
    );
    write(
        "src/bin/names/tcp.rs",
        "fn f() { TcpListener::bind(\"0.0.0.0:53\"); }\n",
    );
    let text = workspace.guess().text;
    assert_holds(
        &text,
        &[
            "binaries = [\"shop/cli\"]\n\n",
            "binaries = [\"shop/names\"]\nports = [53, \"53/udp\"]\n",
            "binaries = [\"shop\"]\nports = [8080]\n",
        ],
    );
    // What both declare counts for both, and so does the library.
    write("src/serve.rs", "");
    write("src/both.rs", &listen("0.0.0.0:8081"));
    let text = workspace.guess().text;
    assert_eq!(text.matches("ports = [8081]").count(), 2, "{text}");
}

#[test]
fn an_image_takes_the_charts_of_its_name() {
    let chart = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n");
    let one = chart("one");
    let other = chart("other");
    let files = [
        VIRTUAL,
        ("deploy/one/Chart.yaml", one.as_str()),
        ("deploy/x/Chart.yaml", &other),
    ];
    let alone = Workspace::new("w", &files)
        .program("crates/one", "")
        .guess();
    assert_holds(
        &alone.text,
        &[
            "{ source = \"deploy/one\", path",
            "{ source = \"deploy/x\", path",
        ],
    );
    let two = Workspace::new("w", &files)
        .program("crates/one", "")
        .program("crates/two", "")
        .guess();
    assert_eq!(two.text.matches("source =").count(), 1, "{}", two.text);
}

#[test]
fn links_are_not_walked() {
    let workspace = Workspace::new("w", &[VIRTUAL]).program("crates/one", "");
    for directory in [
        "ui/node_modules/a",
        "ui/b",
        "crates/one/src/c",
        "crates/one/d",
    ] {
        let directory = workspace.root().join(directory);
        fs::create_dir_all(&directory).unwrap();
        symlink(workspace.root(), directory.join("up")).unwrap();
        symlink(".", directory.join("here")).unwrap();
    }
    let beginning = Instant::now();
    assert_eq!(workspace.guess().images, ["one"]);
    assert!(beginning.elapsed() < Duration::from_secs(20));
}

#[test]
fn files_outside_are_named_once_and_never_the_whole_workspace() {
    let workspace = Workspace::new(
        "w",
        &[
            VIRTUAL,
            ("proto/a.proto", ""),
            ("proto/b.proto", ""),
            ("TEXT", "text"),
            ("\"odd\" $x.md", ""),
        ],
    )
    .program("crates/one", "");
    let main = "const A: &str = include_str!(\"../../../proto/a.proto\");\nconst T: &str = \
                include_str!(\"TEXT\");\n";
    workspace.write("crates/one/src/main.rs", &format!("{main}{MAIN}"));
    let build = "fn main() { read(\"../../proto\"); read(\"../..\"); read(\"../../crates\"); \
                 read(\"../one/src\"); }\n";
    workspace.write("crates/one/build.rs", build);
    symlink(
        "../../../TEXT",
        workspace.root().join("crates/one/src/TEXT"),
    )
    .unwrap();
    let guess = workspace.guess();
    assert_holds(
        &guess.text,
        &["[crates.one]\nfiles = [\"../../TEXT\", \"../../proto\"]\n"],
    );
}

#[test]
fn files_that_macros_and_attributes_name_are_seen_from_the_package() {
    let files = [
        VIRTUAL,
        ("ui/dist/app.js", ""),
        ("sql/1.sql", ""),
        ("texts/a.txt", ""),
        ("notes/a.txt", ""),
        ("data/run.txt", ""),
        ("proto/api.proto", "import \"types.proto\";\n"),
        ("proto/types.proto", ""),
    ];
    let workspace = Workspace::new("w", &files).program("crates/one", "");
    workspace.write("crates/one/LICENSE", "a licence");
    let main = "#[derive(Embed)]\n#[folder = \"../../ui/dist\"]\nstruct Assets;\n\
                static M: Migrator = migrate!(\"../../sql\");\n\
                static D: Dir = include_dir!(\"$CARGO_MANIFEST_DIR/../../texts\");\n\
                const L: &str = include_str!(\"../LICENSE\");\n\
                const N: &str = include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \
                \"/../../notes/a.txt\"));\n\
                fn run() { std::fs::read(\"../../data/run.txt\").unwrap(); }\n";
    workspace.write("crates/one/src/main.rs", &format!("{main}{MAIN}"));
    let build = "fn main() { compile_protos(\"../../proto/api.proto\"); }\n";
    workspace.write("crates/one/build.rs", build);
    let files = "[\"../../notes/a.txt\", \"../../proto\", \"../../sql\", \"../../texts\", \
                 \"../../ui/dist\", \"LICENSE\"]";
    assert_holds(
        &workspace.guess().text,
        &[&format!("[crates.one]\nfiles = {files}\n")],
    );
}

/// Cargo compiles nothing again after an edit of a document, and neither should a build.
#[test]
fn links_to_documents_are_declared_only_if_the_code_reads_them() {
    let files = [
        VIRTUAL,
        ("LICENSE", ""),
        ("README.md", ""),
        ("NEWS.md", ""),
        ("CHANGELOG.md", ""),
        ("docs/guide.txt", ""),
        ("data/numbers.txt", ""),
        ("fixtures/a.txt", ""),
    ];
    let workspace = Workspace::new("w", &files)
        .program("crates/one", "")
        .program("crates/two", "");
    for (link, target) in [
        ("LICENSE-MIT", "../../LICENSE"),
        ("README.md", "../../README.md"),
        ("news", "../../NEWS.md"),
        ("CHANGELOG.md", "../../CHANGELOG.md"),
        ("docs", "../../docs"),
        ("data", "../../data"),
        ("tests/data", "../../../fixtures"),
    ] {
        for package in ["crates/one", "crates/two"] {
            let link = workspace.root().join(package).join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
        }
    }
    let main = "#![doc = include_str!(\"../README.md\")]\nconst G: &str = \
                include_str!(\"../docs/guide.txt\");\n";
    workspace.write("crates/two/src/main.rs", &format!("{main}{MAIN}"));
    let text = workspace.guess().text;
    let two = "[\"../../README.md\", \"../../data\", \"../../docs/guide.txt\", \"README.md\"]";
    assert_holds(
        &text,
        &[
            "[crates.one]\nfiles = [\"../../data\"]\n",
            &format!("[crates.two]\nfiles = {two}\n"),
        ],
    );
}

/// The program would silently differ: a build script may count the files of a directory.
#[test]
fn a_build_script_of_any_name_is_searched_with_its_modules() {
    let files = [VIRTUAL, ("config/a.toml", ""), ("other/a.toml", "")];
    let workspace =
        Workspace::new("w", &files).program("crates/one", "build = \"build/main.rs\"\n");
    workspace.write("crates/one/build/main.rs", &format!("mod assets;\n{MAIN}"));
    let assets = "fn all() { std::fs::read_dir(\"../../config\").unwrap(); }\n";
    workspace.write("crates/one/build/assets.rs", assets);
    // This file belongs to no target.
    workspace.write("crates/one/build.rs", &assets.replace("config", "other"));
    let guess = workspace.guess();
    assert_holds(&guess.text, &["[crates.one]\nfiles = [\"../../config\"]\n"]);
    let reason = "the package one sees ../../config, which its build/assets.rs names";
    assert_holds(&guess.reasons.join("\n"), &[reason]);
}

/// Many build scripts go on without a revision, so that the program would silently differ.
#[test]
fn a_package_whose_build_asks_git_sees_the_revision() {
    let with = |name: &str, more: &str| {
        format!("[build-dependencies]\n{name} = {{ version = \"1\", {more} }}\n")
    };
    let off = with("vergen-gitcl", "optional = true");
    let on = format!("{off}[features]\ndefault = [\"vergen-gitcl\"]\n");
    let workspace = Workspace::new("w", &[VIRTUAL])
        .program("crates/calls", "")
        .program("crates/guarded", "")
        .program("crates/tags", "")
        .program("crates/cl", &with("vergen-gitcl", ""))
        .program("crates/cl-by-default", &on)
        .program("crates/cl-off", &off)
        .program("crates/old-cl", &with("vergen", "features = [\"gitcl\"]"))
        .program("crates/gix", &with("vergen-gix", ""))
        .program("crates/macro", "[dependencies]\ngit-version = \"0.3\"\n");
    let script = "fn main() { let it = Command::new(\"git\").args([\"rev-parse\", \
                  \"--short\", \"HEAD\"]).output().ok(); }\n";
    workspace.write("crates/calls/build.rs", script);
    let guard = "fn f() { if !root.join(\".git\").exists() { return; } }\n";
    workspace.write("crates/guarded/build.rs", &format!("{guard}{script}"));
    let tags = "fn main() { run(\"git describe --tags\"); }\n";
    workspace.write("crates/tags/build.rs", tags);
    let main = "const V: &str = git_version!(fallback = \"unknown\");\n";
    workspace.write("crates/macro/src/main.rs", &format!("{main}{MAIN}"));
    let Guess { text, reasons, .. } = workspace.guess();
    for name in ["calls", "cl", "cl-by-default", "macro", "old-cl"] {
        assert_holds(&text, &[&format!("[crates.{name}]\nrevision = true\n")]);
    }
    assert_eq!(text.matches("revision").count(), 5, "{text}");
    assert_holds(
        &reasons.join("\n"),
        &[
            "the package calls sees the revision, because its build.rs calls git",
            "the package guarded sees no revision, because a build has no .git: its build.rs looks \
             for it",
            "the package gix sees no revision, because a build has no .git: its build script reads \
             it by vergen-gix",
        ],
    );
}

/// Units do not see documents, files of tests, and in the root what belongs to the repository.
#[test]
fn files_that_units_do_not_see_by_themselves_are_declared() {
    let manifest = "[package]\nname = \"w\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                    [workspace]\nmembers = [\"one\"]\n";
    let main = "const A: [&str; 5] = [include_str!(\"../docs/guide.txt\"), \
                include_str!(\"../.env.example\"), include_str!(\"../Dockerfile\"), \
                include_str!(\"../tests/data/a.txt\"), include_str!(\"../data/seen.txt\")];\n";
    let tests =
        "\n#[cfg(test)]\nmod tests { const B: &str = include_str!(\"../tests/data/b.txt\"); }\n";
    let files = [
        ("Cargo.toml", manifest),
        ("docs/guide.txt", ""),
        (".env.example", ""),
        ("Dockerfile", "FROM scratch\n"),
        ("tests/data/a.txt", ""),
        ("tests/data/b.txt", ""),
        ("data/seen.txt", ""),
    ];
    let workspace = Workspace::new("w", &files).program("one", "");
    workspace.write("src/main.rs", &format!("{main}{MAIN}{tests}"));
    // Only in the root do these belong to the repository.
    workspace.write("one/docs/guide.txt", "");
    let guide = "const G: &str = include_str!(\"../docs/guide.txt\");\n";
    workspace.write("one/src/main.rs", &format!("{guide}{MAIN}"));
    let files = "[\".env.example\", \"Dockerfile\", \"docs/guide.txt\", \"tests/data/a.txt\"]";
    let text = workspace.guess().text;
    assert_holds(&text, &[&format!("[crates.w]\nfiles = {files}\n")]);
    assert!(!text.contains("[crates.one]"), "{text}");
}

#[test]
fn people_mean_the_program_named_like_the_repository() {
    let named = Workspace::new("Shop-rs", &[VIRTUAL])
        .program("crates/admin", "")
        .program("crates/shop", "");
    assert_eq!(named.guess().main.as_deref(), Some("shop"));

    let run = Workspace::new("w", &[VIRTUAL])
        .program("crates/a", "")
        .program("crates/z", "default-run = \"z\"\n");
    assert_eq!(run.guess().main.as_deref(), Some("z"));

    let dockerfile = "FROM debian\nCOPY target/release/a-ctl target/release/z-daemon \
                      /usr/local/bin/\nCMD [\"/usr/local/bin/z-daemon\"]\n";
    let started = Workspace::new("w", &[VIRTUAL, ("Dockerfile", dockerfile)])
        .program("crates/a-ctl", "")
        .program("crates/z-daemon", "");
    assert_eq!(started.guess().main.as_deref(), Some("z-daemon"));

    let serving = Workspace::new("w", &[VIRTUAL])
        .program("crates/a", "")
        .program("crates/z", "");
    serving.write(
        "crates/z/src/main.rs",
        "fn main() { bind(\"0.0.0.0:80\") }\n",
    );
    assert_eq!(serving.guess().main.as_deref(), Some("z"));
}

#[test]
fn the_owner_of_the_repository_is_the_vendor_where_nobody_else_is_named() {
    let label = "labels = { \"org.opencontainers.image.vendor\" = \"team\" }";
    let root = (
        "Cargo.toml",
        "[workspace]\nmembers = [\"a\"]\nresolver = \"2\"\n",
    );
    let nameless = Workspace::new("shop", &[root]).program("a", "");
    let guess = nameless.guess_owned_by(Some("team"));
    assert!(guess.text.contains(label), "{}", guess.text);
    assert!(guess.reasons.join("\n").contains("the vendor team"));
    assert!(!nameless.guess().text.contains("labels"));
    for named in [
        "authors = [\"Ann\"]\n",
        "repository = \"https://x.example/y\"\n",
    ] {
        let guess = Workspace::new("shop", &[root])
            .program("a", named)
            .guess_owned_by(Some("team"));
        assert!(!guess.text.contains("labels"), "{}", guess.text);
    }
}
