//! Compares closures in Debian's archive with those of `apt-get --simulate install`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{absent, skipped};
use crateyard_debian::apt::{IndexOptions, Indexes, Mirrors, read_indexes};
use crateyard_debian::keys::Keys;
use crateyard_debian::lock::Suite;
use crateyard_debian::release::DEBIAN_KEYRING;
use crateyard_debian::resolve::{SetRequest, Universe};

mod common;

/// Sets of many kinds: compilers, interpreters, services, desktops, with alternatives and virtual
/// packages.
const SETS: &[&str] = &[
    "rustc-web cargo-web gcc g++ libc6-dev make cmake perl pkgconf coreutils dash bash sed grep \
     mawk findutils tar xz-utils",
    "base-files libc6 libgcc-s1 ca-certificates tzdata netbase",
    "protobuf-compiler",
    "build-essential debhelper",
    "python3 python3-venv git openssh-client",
    "postgresql nginx",
    "default-jre-headless",
    "systemd docker.io podman",
    "apache2 php exim4",
    "texlive-latex-base",
    "curl wget libssl-dev",
    "task-xfce-desktop",
];

fn suites() -> Vec<Suite> {
    vec![Suite {
        name: "bookworm".to_owned(),
        archive: "debian".to_owned(),
        components: vec!["main".to_owned()],
        url: None,
    }]
}

fn request(roots: &str, architecture: &str) -> SetRequest {
    let roots: Vec<&str> = roots.split(' ').collect();
    SetRequest::new("set", &roots, &[architecture])
}

/// An apt with the real archive and no installed packages.
struct Oracle {
    directory: tempfile::TempDir,
}

impl Oracle {
    fn new(mirror: &str, architecture: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().display();
        for name in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.path().join(name)).expect("a directory");
        }
        let configuration = format!(
            "#clear APT::Architectures;\n#clear APT::Update::Post-Invoke;\n#clear \
             APT::Update::Post-Invoke-Success;\nAPT::Architecture \
             \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; \
             }};\nAPT::Install-Recommends \"false\";\nAPT::Sandbox::User \"root\";\nDir::State \
             \"{root}/state\";\nDir::State::status \"{root}/status\";\nDir::Cache \
             \"{root}/cache\";\nDir::Cache::pkgcache \"pkgcache.bin\";\nDir::Cache::srcpkgcache \
             \"srcpkgcache.bin\";\nDir::Etc::sourcelist \
             \"{root}/archive.sources\";\nDir::Etc::sourceparts \"-\";\n"
        );
        let source = format!(
            "Types: deb\nURIs: {mirror}\nSuites: bookworm\nComponents: main\nArchitectures: \
             {architecture}\nSigned-By: {DEBIAN_KEYRING}\nTargets: Packages\n"
        );
        fs::write(directory.path().join("apt.conf"), configuration).expect("a configuration");
        fs::write(directory.path().join("archive.sources"), source).expect("a source");
        fs::write(directory.path().join("status"), "").expect("a status");
        let oracle = Oracle { directory };
        oracle.apt(&["update"]);
        oracle
    }

    fn apt(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("apt-get");
        command
            .arg("-c")
            .arg(self.directory.path().join("apt.conf"))
            .args(arguments)
            .env("LC_ALL", "C");
        let output = command.output().expect("apt-get");
        assert!(
            output.status.success(),
            "apt-get {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns the packages that apt would install, as `name version`.
    fn closure(&self, roots: &str) -> BTreeSet<String> {
        let arguments: Vec<&str> = ["--simulate", "install"]
            .into_iter()
            .chain(roots.split(' '))
            .collect();
        let said = self.apt(&arguments);
        let line = |line: &str| {
            let mut words = line.strip_prefix("Inst ")?.split(' ');
            let (name, version) = (words.next()?, words.next()?);
            Some(format!("{name} {}", version.trim_start_matches('(')))
        };
        said.lines().filter_map(line).collect()
    }
}

fn indexes(mirrors: &Mirrors, architecture: &str) -> Result<Indexes, String> {
    let options = IndexOptions {
        suites: &suites(),
        architectures: &[architecture.to_owned()],
        keys: &Keys::read(Path::new(DEBIAN_KEYRING)).map_err(|error| error.to_string())?,
        sources: &BTreeMap::new(),
        allow_stale: false,
    };
    read_indexes(mirrors, &options).map_err(|error| error.to_string())
}

fn closure(universe: &Universe, roots: &str, architecture: &str) -> BTreeSet<String> {
    let lock = universe
        .lock(&[request(roots, architecture)], "20260101T000000Z")
        .expect(roots);
    let members = lock.set("set", architecture).expect("the set").into_iter();
    let line = |(key, package): (&str, &crateyard_debian::lock::Package)| {
        let (name, _) = key.split_once(':').expect(key);
        format!("{name} {}", package.version)
    };
    members.map(line).collect()
}

fn compare(test: &str, architecture: &str, sets: &[&str]) {
    if let Some(program) = absent(&["apt-get", "gpgv"]) {
        return skipped(test, &format!("there is no {program}"));
    }
    let mirrors = match Mirrors::of_machine() {
        Ok(mirrors) if mirrors.of("debian").is_ok() => mirrors,
        _ => {
            return skipped(
                test,
                "this machine's apt has no source for Debian's archive",
            );
        }
    };
    let found = match indexes(&mirrors, architecture) {
        Ok(found) => found,
        Err(error) => return skipped(test, &format!("the archive cannot be read: {error}")),
    };
    let mut shuffled = found.packages.clone();
    shuffled.reverse();
    shuffled.rotate_left(found.packages.len() / 3);
    let universe = Universe::new(suites(), found.packages).expect("an archive");
    let oracle = Oracle::new(&mirrors.of("debian").expect("a mirror")[0], architecture);
    for roots in sets {
        let (ours, theirs) = (
            closure(&universe, roots, architecture),
            oracle.closure(roots),
        );
        let difference: Vec<&String> = ours.symmetric_difference(&theirs).collect();
        assert!(difference.is_empty(), "{roots}: {difference:?}");
        assert!(ours.len() >= roots.split(' ').count(), "{roots}");
    }
    let again = Universe::new(suites(), shuffled).expect("an archive");
    for roots in sets {
        let request = [request(roots, architecture)];
        let (one, two) = (
            universe.lock(&request, "20260101T000000Z"),
            again.lock(&request, "20260101T000000Z"),
        );
        assert_eq!(one.expect(roots).to_text(), two.expect(roots).to_text());
    }
}

#[test]
fn closures_are_those_of_apt() {
    compare("closures_are_those_of_apt", "amd64", SETS);
}

#[test]
fn closures_for_another_architecture_are_those_of_apt() {
    compare(
        "closures_for_another_architecture_are_those_of_apt",
        "arm64",
        &SETS[..3],
    );
}
