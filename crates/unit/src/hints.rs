//! Advice on failures with a known remedy.

mod downloader;
mod missing;
mod network;
mod pairs;
mod paths;
mod sources;
mod words;

use crate::Action;
use crate::run::Request;

/// Messages of build scripts that miss a program, and the Debian package that has it. Libraries are
/// known by the crates that use them: crates/description/src/debian-by-crate.toml.
const PROGRAMS: [(&str, &str); 9] = [
    ("libclang", "libclang-dev"),
    ("find `protoc`", "protobuf-compiler"),
    ("protoc failed", "protobuf-compiler"),
    ("is `cmake` not installed", "cmake"),
    ("nasm", "nasm"),
    // Messages of cc, new and old.
    ("tool \"x86_64-linux-musl-gcc\"", "musl-tools"),
    ("`musl-gcc` installed", "musl-tools"),
    ("tool \"clang", "clang"),
    ("`clang` installed", "clang"),
];

/// Returns the advice to print beneath the output of a failed program, if there is any.
pub(crate) fn hint(request: &Request, said: &str) -> Option<String> {
    let failure = Failure::of(request, said)?;
    failure
        .network()
        .or_else(|| failure.named_downloader())
        .or_else(|| failure.revision())
        .or_else(|| failure.variable())
        .or_else(|| failure.workspace())
        .or_else(|| failure.named_files())
        .or_else(|| failure.unlinked())
        .or_else(|| failure.debian())
        .or_else(|| failure.started_downloader())
        .or_else(|| failure.files_in_sources())
}

/// A program that failed.
struct Failure<'a> {
    request: &'a Request,
    /// The package's name.
    package: &'a str,
    /// The program's output.
    said: &'a str,
}

impl<'a> Failure<'a> {
    fn of(request: &'a Request, said: &'a str) -> Option<Self> {
        let package = request.unit.env.get("CARGO_PKG_NAME")?;
        Some(Self {
            request,
            package,
            said,
        })
    }

    /// Whether the program is a compiler, which runs no code of the crate that it compiles.
    fn is_compiled(&self) -> bool {
        matches!(self.request.unit.action, Action::Compile { .. })
    }

    fn says_any(&self, words: &[&str]) -> bool {
        words.iter().any(|words| self.said.contains(words))
    }

    fn unlinked(&self) -> Option<String> {
        let (package, library) = (self.package, words::unlinked(self.said)?);
        Some(format!(
            "{package} is linked to a library {library} that is not there. Add the Debian package \
             that has lib{library}.so for the crate that binds it, in images.toml, and run \
             `assemble lock`:\n\n    \
             [crates.{library}-sys]\n    packages = [\"lib{library}-dev\"]\n"
        ))
    }

    fn debian(&self) -> Option<String> {
        let package = self.package;
        let wanted = match PROGRAMS.iter().find(|(words, _)| self.said.contains(words)) {
            Some((_, program)) => vec![(*program).to_owned()],
            None => self.request.wants.clone(),
        };
        if wanted.is_empty() {
            return words::library(self.said).map(|library| {
                format!(
                    "{package} looks for the library {library}. Add the Debian package that has \
                     {library}.pc in images.toml and run `assemble lock`:\n\n    \
                     [crates.{package}]\n    packages = [\"…-dev\"]\n"
                )
            });
        }
        Some(format!(
            "{package} needs something from Debian. Add it in images.toml and run \
             `assemble lock`:\n\n    \
             [crates.{package}]\n    packages = {wanted:?}\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;
    use std::collections::BTreeMap;

    fn request(package: &str, source_dir: &str, wants: &[&str]) -> Request {
        let unit = Unit {
            path_in_source: None,
            version: crate::FORMAT,
            name: package.into(),
            source_dir: source_dir.into(),
            cwd: "/workspace".into(),
            env: BTreeMap::from([("CARGO_PKG_NAME".to_owned(), package.to_owned())]),
            action: crate::Action::RunBuildScript {
                program: String::new(),
                out_dir: String::new(),
                metadata: BTreeMap::new(),
            },
        };
        Request {
            whole: None,
            skeleton: None,
            revision: None,
            unit,
            source: "/".into(),
            inputs: Vec::new(),
            extras: Vec::new(),
            wants: wants.iter().map(|name| (*name).to_owned()).collect(),
            out: "/".into(),
            cores: 1,
        }
    }

    #[test]
    fn a_file_outside_is_named_with_the_line_to_add() {
        let request = request("api", "/workspace/crates/api", &[]);
        let said = "error: couldn't read `crates/api/src/../../../proto/a.proto`: No such file";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains("[crates.api]"), "{hint}");
        assert!(hint.contains(r#"files = ["../../proto"]"#), "{hint}");
    }

    #[test]
    fn a_missing_library_is_named_by_its_package() {
        let request = request(
            "openssl-sys",
            "/cargo/registry/openssl-sys-0.9.1",
            &["libssl-dev"],
        );
        let hint = hint(&request, "Could not find directory of OpenSSL installation").unwrap();
        assert!(hint.contains(r#"packages = ["libssl-dev"]"#), "{hint}");
    }

    #[test]
    fn a_library_that_is_not_known_is_named() {
        let request = request("foo-sys", "/cargo/registry/foo-sys-0.1.0", &[]);
        let said = "The system library `foo` required by crate `foo-sys` was not found.";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains("foo.pc"), "{hint}");
        assert!(hint.contains("[crates.foo-sys]"), "{hint}");
    }

    #[test]
    fn a_library_that_is_not_linked_is_named() {
        let request = request("app", "/workspace/app", &[]);
        let said = "/usr/bin/ld: cannot find -lfrob: No such file or directory";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains(r#"packages = ["libfrob-dev"]"#), "{hint}");
    }

    /// Makes a package in a directory of its own, so that the test sees nothing of the machine.
    pub(super) fn package(build: &str) -> (tempfile::TempDir, Request) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("build.rs"), build).unwrap();
        let request = request("app", directory.path().to_str().unwrap(), &[]);
        (directory, request)
    }

    #[test]
    fn a_path_that_a_macro_names_is_named_with_the_line_to_add() {
        let request = request("web", "/workspace/crates/web", &[]);
        let said = "error: folder '/workspace/crates/web/../../ui/dist' does not exist";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains(r#"files = ["../../ui/dist"]"#), "{hint}");
    }

    #[test]
    fn a_relative_path_is_one_from_the_package() {
        let request = request("web", "/workspace/crates/web", &[]);
        let said = "no cached query at ../../.sqlx/query-1.json: No such file";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains(r#"files = ["../../.sqlx"]"#), "{hint}");
    }

    #[test]
    fn a_crate_of_a_registry_is_given_files_of_the_workspace() {
        let request = request("v8", "/cargo/registry/v8-1.0.0", &[]);
        let said = "cannot open /workspace/vendor/v8.a: No such file or directory";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains(r#"files = ["vendor/v8.a"]"#), "{hint}");
    }

    #[test]
    fn a_manifest_without_its_workspace_gets_it() {
        let request = request("app", "/workspace/crates/app", &[]);
        let said = "error: failed to parse manifest: failed to find a workspace root";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains(r#"files = ["../../Cargo.toml"]"#), "{hint}");
    }

    #[test]
    fn who_asks_git_is_told_how_to_declare_it() {
        let (_directory, request) = package("fn main() { Command::new(\"git\").arg(\"log\"); }");
        let hint = hint(&request, "Os { code: 2, kind: NotFound }").unwrap();
        assert!(hint.contains("revision = true"), "{hint}");
    }

    fn assert_says(hint: &str, wanted: &[&str]) {
        for wanted in wanted {
            assert!(hint.contains(wanted), "no {wanted:?} in\n{hint}");
        }
    }

    #[test]
    fn a_download_is_named_with_the_lines_to_add() {
        let (_directory, request) = package(
            "let file = env::var(\"APP_ARCHIVE\")\
             .unwrap_or_else(|_| get(&format!(\"https://example.org/{name}.tar.gz?x=1\")));",
        );
        let said =
            "curl: (6) Could not resolve host: example.org, https://example.org/a.tar.gz?x=1";
        let hint = hint(&request, said).unwrap();
        let directory = &request.unit.source_dir;
        let wanted = [
            "it wants https://example.org/a.tar.gz?x=1. ",
            "its build script reads APP_ARCHIVE. ",
            "    [parts.app]\n    download = { url = \"https://example.org/a.tar.gz?x=1\" }\n",
            "    [crates.app]\n    parts = [{ part = \"app\", path = \"downloads/a.tar.gz\" }]\n",
            &format!("environment = {{ APP_ARCHIVE = \"{directory}/downloads/a.tar.gz\" }}"),
        ];
        assert_says(&hint, &wanted);
    }

    #[test]
    fn the_source_that_a_compiler_quotes_names_no_file() {
        let request = request("app", "/workspace/app", &[]);
        let said = "error: couldn't read `/workspace/app/../LICENSE`: No such file or directory\n \
                    --> app/src/main.rs:1:20\n1 | const L: &str = \
                    include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../LICENSE\"));\n";
        let hint = hint(&request, said).unwrap();
        assert!(hint.contains("files = [\"../LICENSE\"]"), "{hint}");
    }

    #[test]
    fn a_missing_program_is_named_with_its_debian_package() {
        let request = request("tiny", "/workspace", &[]);
        for (said, package) in [
            (
                "error occurred in cc-rs: failed to find tool \"x86_64-linux-musl-gcc\": No such \
                 file or directory (os error 2)",
                "musl-tools",
            ),
            (
                "Failed to find tool. Is `musl-gcc` installed?",
                "musl-tools",
            ),
            ("failed to find tool \"clang-19\": No such file", "clang"),
            (
                "failed to execute command: is `cmake` not installed?",
                "cmake",
            ),
        ] {
            let hint = hint(&request, said).unwrap();
            let lines = format!("[crates.tiny]\n    packages = [\"{package}\"]");
            assert!(hint.contains(&lines), "{said}: {hint}");
        }
    }

    #[test]
    fn addresses_come_from_the_sources_if_the_program_says_none() {
        let (_directory, request) = package(
            "// https://example.org/documentation\n\
             const ONE: &str = \"https://example.org/one.zip\";\n\
             let two = format!(\"https://example.org/v{version}/two.bin\");\n",
        );
        let said =
            "Os { code: 101, kind: NetworkUnreachable, message: \"Network is unreachable\" }";
        let hint = hint(&request, said).unwrap();
        let wanted = [
            "it wants https://example.org/one.zip, https://example.org/v{version}/two.bin. ",
            "its build script reads no variable that is not set",
            "[parts.app-1]",
            "[parts.app-2]",
            "path = \"downloads/two.bin\"",
            "VARIABLE = \"",
            "VARIABLE_2 = \"",
        ];
        assert_says(&hint, &wanted);
        assert!(!hint.contains("documentation"), "{hint}");
    }

    #[test]
    fn each_client_is_understood() {
        let (_directory, request) = package("fn main() {}");
        for said in [
            // getaddrinfo by glibc and musl, behind ureq, minreq, reqwest, attohttpc, Python and
            // Node.js.
            "failed to lookup address information: Temporary failure in name resolution",
            "failed to lookup address information: Name does not resolve",
            "https://example.org/a: Dns Failed: resolve dns name 'example.org:443'",
            "io: failed to lookup address information: Try again",
            "Transport(Transport { kind: Dns, message: None })\nDNS lookup failed",
            "Custom { kind: HostNotFound }",
            "hyper::Error(Connect, ConnectError(\"dns error\", \"failed to lookup address\"))",
            "reqwest::Error { kind: Request, source: TimedOut }: error sending request",
            "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name \
             resolution>",
            "socket.gaierror: [Errno -2] Name or service not known",
            "Error: getaddrinfo EAI_AGAIN example.org",
            "dial tcp: lookup example.org on [::1]:53: no such host",
            "failed to resolve address for example.org: Temporary failure",
            "curl: (7) Couldn't connect to server",
            "wget: unable to resolve host address 'example.org'",
            "connect: No route to host (os error 113)",
        ] {
            let text = hint(&request, said).unwrap_or_else(|| panic!("no hint on {said:?}"));
            assert!(text.contains("tries the network"), "{said}: {text}");
        }
        for said in [
            "error[E0433]: failed to resolve: use of undeclared crate or module `http`",
            "undefined reference to `getaddrinfo'",
            "FileNotFound",
        ] {
            assert_eq!(hint(&request, said), None, "{said}");
        }
    }

    #[test]
    fn files_of_one_name_have_places_of_their_own() {
        let (_directory, request) = package("fn main() {}");
        let said = "Could not resolve host: https://a.example/x/data.zip, \
             https://b.example/data.zip, https://c.example/other.zip, https://d.example/, \
             https://e.example/";
        let text = hint(&request, said).unwrap();
        let wanted = [
            "{ part = \"app-1\", path = \"downloads/app-1/data.zip\" }",
            "{ part = \"app-2\", path = \"downloads/app-2/data.zip\" }",
            "{ part = \"app-3\", path = \"downloads/other.zip\" }",
            "{ part = \"app-4\", path = \"downloads/FILE\" }",
            "https://d.example/ and 1 more. ",
            "mirrors of one file",
        ];
        assert_says(&text, &wanted);
        let said = "Network is unreachable: https://a.example/ https://b.example/";
        let text = hint(&request, said).unwrap();
        let wanted = ["downloads/app-1/FILE\"", "downloads/app-2/FILE\""];
        assert_says(&text, &wanted);
        assert!(!text.contains("mirrors"), "{text}");
    }

    #[test]
    fn a_variable_is_set_to_a_file_only_if_the_script_ties_them() {
        let said = "Network is unreachable: https://a.example/one.zip https://a.example/two.zip";
        // The order of the variables is not that of the addresses.
        let (_directory, request) = package(
            "const ONE: &str = \"https://a.example/one.zip\";\n\
             let two = env::var(\"B_SECOND\").unwrap_or_else(|_| \
             get(\"https://a.example/two.zip\"));\n\
             let one = env::var(\"A_FIRST\").unwrap_or_else(|_| get(ONE));\n",
        );
        let text = hint(&request, said).unwrap();
        let directory = &request.unit.source_dir;
        let settings = format!(
            "environment = {{ A_FIRST = \"{directory}/downloads/one.zip\", \
             B_SECOND = \"{directory}/downloads/two.zip\" }}"
        );
        assert_says(&text, &["reads B_SECOND, A_FIRST. ", &settings]);

        let (_directory, request) = package(
            "let (mirror, file) = (env::var(\"MIRROR\"), env::var(\"FILE\"));\n\
             get(\"https://a.example/one.zip\"); get(\"https://a.example/two.zip\");\n",
        );
        let text = hint(&request, said).unwrap();
        let wanted = [
            "reads MIRROR, FILE, but its text does not tie each file to one of them",
            "environment = { VARIABLE = \"",
            "VARIABLE_2 = \"",
        ];
        assert_says(&text, &wanted);
    }

    #[test]
    fn a_host_is_named_if_nothing_has_an_address() {
        let (_directory, request) = package("fn main() {}");
        let said = "curl: (6) Could not resolve host: files.example.org\n";
        let text = hint(&request, said).unwrap();
        assert!(text.contains("it wants files.example.org. "), "{text}");
        assert!(
            text.contains("url = \"https://files.example.org/\u{2026}\""),
            "{text}"
        );
        let text = hint(&request, "Network is unreachable").unwrap();
        assert!(text.contains("which no unit has. "), "{text}");
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let request = request("app", "/workspace/app", &[]);
        let said = "error: environment variable `GIT_SHA` not defined at compile time";
        let text = hint(&request, said).unwrap();
        assert!(text.contains("environment = { GIT_SHA = "), "{text}");
        let (_directory, request) = package("env::var(\"OUT_DIR\"); env::var(\"SITE\").unwrap();");
        let text = hint(&request, "called unwrap on an `Err` value: NotPresent").unwrap();
        assert!(text.contains("environment = { SITE = "), "{text}");
    }

    #[test]
    fn a_failure_without_a_path_is_explained_by_the_sources() {
        let (_directory, mut request) = package("fs::read(\"../../proto/a.proto\").unwrap();");
        // Sources are looked for in the package's directory, and their paths are resolved from
        // there.
        let said = "called unwrap on an `Err` value: Os { code: 2, kind: NotFound }";
        request
            .unit
            .env
            .insert("CARGO_PKG_NAME".into(), "api".into());
        assert!(
            hint(&request, said).is_none(),
            "it does not lie in the workspace"
        );
    }

    #[test]
    fn other_failures_get_no_hint() {
        let request = request("api", "/workspace/crates/api", &[]);
        assert_eq!(hint(&request, "error[E0308]: mismatched types"), None);
    }
}
