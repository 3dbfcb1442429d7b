//! Downloads from Debian archives through the machine's apt: with its mirrors, proxies and
//! credentials, but without its state.
//!
//! Every call has its own directory for lists, sources and downloads. The machine's architectures,
//! installed packages and preferences have no influence, and nothing changes them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::index::{self, IndexError, Package};
use crate::keys::{KeyError, Keys};
use crate::lock::Suite;
use crate::release::{Date, Release, ReleaseError, hex, is_flat};

/// apt's downloader, from the package `apt` itself.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// How many files one call downloads. The command line must hold them all.
const BATCH: usize = 200;

/// An error of apt.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AptError {
    #[error("{program} cannot be started: {source}; it is part of Debian's package apt")]
    NotFound { program: String, source: io::Error },
    #[error("{program} failed: {said}")]
    Failed { program: String, said: String },
    #[error(
        "the machine's apt has no source for the archive `{0}`; name a mirror with \
         --mirror {0}=URL, or add one to /etc/apt/sources.list.d"
    )]
    NoMirror(String),
    #[error("[debian.sources.{name}]: {source}")]
    OfSource { name: String, source: Box<AptError> },
    #[error("{mirror}: apt-get update downloaded no {what} for {suite}")]
    NoIndex {
        mirror: String,
        suite: String,
        what: String,
    },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{0}: is not UTF-8")]
    NotUtf8(PathBuf),
    #[error("{what} {text:?} has a space or a control character, which apt would misread")]
    NotAWord { what: &'static str, text: String },
}

/// The archive that serves a suite. Security updates have their own archive.
pub fn archive_of(suite: &str) -> &'static str {
    if suite.ends_with("-security") {
        "debian-security"
    } else {
        "debian"
    }
}

/// The mirrors of each archive, best first. Addresses have no `/` at their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(BTreeMap<String, Vec<String>>);

impl Mirrors {
    /// The mirrors in the machine's apt sources.
    pub fn of_machine() -> Result<Self, AptError> {
        // With the machine's lists, apt would read them all first and update the machine's cache.
        let apt = PrivateApt::new()?;
        let option = |name: &str, path: &str| format!("{name}={}", apt.path(path).display());
        let mut command = Command::new("apt-get");
        command.args(["-o", &option("Dir::State::Lists", "state/lists")]);
        command.args(["-o", &option("Dir::State::status", "status")]);
        command.args(["-o", &option("Dir::Cache", "cache")]);
        command.args(["--no-release-info", "indextargets", "--format"]);
        command.arg("$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)");
        let output = run(&mut command, "apt-get indextargets")?;
        Ok(Self::from_targets(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads lines of `REPO_URI RELEASE COMPONENT CREATED_BY`.
    ///
    /// The path of an address shows the archive that it serves (`.../debian`,
    /// `.../debian/20250520T000000Z`). A private mirror may have another path. If it has a suite
    /// with the component `main`, it becomes a guess, after the sure mirrors. A wrong guess is
    /// harmless: its signatures and hashes would not match.
    fn from_targets(text: &str) -> Self {
        let (mut sure, mut guessed) = (Self::default(), Self::default());
        for line in text.lines() {
            let [uri, release, component, "Packages"] = line.split(' ').collect::<Vec<_>>()[..]
            else {
                continue;
            };
            let uri = uri.trim_end_matches('/');
            let mut segments = uri.rsplit('/');
            let named = segments
                .by_ref()
                .take(2)
                .find(|s| matches!(*s, "debian" | "debian-security"));
            match named {
                Some(archive) => sure.add(archive, uri),
                None if component == "main" => guessed.add(archive_of(release), uri),
                None => {}
            }
        }
        for (archive, uris) in guessed.0 {
            uris.iter().for_each(|uri| sure.add(&archive, uri));
        }
        sure
    }

    /// Adds a mirror after the others.
    pub fn add(&mut self, archive: &str, uri: &str) {
        let uri = uri.trim_end_matches('/').to_owned();
        let known = self.0.entry(archive.to_owned()).or_default();
        if !known.contains(&uri) {
            known.push(uri);
        }
    }

    /// Adds the addresses of archives that are not Debian's.
    pub fn set_sources(&mut self, suites: &[Suite]) {
        for suite in suites {
            if let Some(url) = &suite.url {
                self.set(&suite.archive, url);
            }
        }
    }

    /// Makes this mirror the only one of an archive.
    pub fn set(&mut self, archive: &str, uri: &str) {
        self.0.remove(archive);
        self.add(archive, uri);
    }

    /// The mirrors of an archive, best first. There is at least one.
    pub fn of(&self, archive: &str) -> Result<&[String], AptError> {
        match self.0.get(archive) {
            Some(uris) => Ok(uris),
            None => Err(AptError::NoMirror(archive.to_owned())),
        }
    }
}

/// The content of some suites' indexes.
#[derive(Debug)]
pub struct Indexes {
    /// All packages. [`Package::suite`] is an index into the list of suites.
    pub packages: Vec<Package>,
    /// The youngest date of the suites' release files.
    pub date: Date,
}

/// How to download and check indexes.
#[derive(Clone, Debug)]
pub struct IndexOptions<'a> {
    /// Suites, the preferred one first.
    pub suites: &'a [Suite],
    /// Architectures to read.
    pub architectures: &'a [String],
    /// The keys that may sign Debian's suites.
    pub keys: &'a Keys,
    /// Archives that are not Debian's, by the name that suites give as their archive.
    pub sources: &'a BTreeMap<String, Source>,
    /// Accept expired release files. The machine's apt configuration can also allow them
    /// (`Acquire::Check-Valid-Until`).
    pub allow_stale: bool,
}

/// An archive that is not Debian's. It has its own keys, and these sign nothing else.
#[derive(Clone, Debug)]
pub struct Source {
    /// The keys that may sign its suites.
    pub keys: Keys,
    /// The architectures to read, if it need not have all.
    pub architectures: Option<Vec<String>>,
}

impl IndexOptions<'_> {
    fn keys_of(&self, suite: &Suite) -> &Keys {
        self.sources
            .get(&suite.archive)
            .map_or(self.keys, |source| &source.keys)
    }

    /// The architectures to read of a suite.
    fn architectures_of(&self, suite: &Suite) -> Vec<&String> {
        let source = self.sources.get(&suite.archive);
        let only = source.and_then(|source| source.architectures.as_ref());
        let wanted = |it: &&String| only.is_none_or(|only| only.contains(it));
        self.architectures.iter().filter(wanted).collect()
    }
}

/// Downloads, verifies and reads the indexes of suites.
pub fn read_indexes(mirrors: &Mirrors, options: &IndexOptions<'_>) -> Result<Indexes, AptError> {
    let allow_stale = options.allow_stale || machine_allows_stale();
    let mut packages = Vec::new();
    // The snapshot archive has Debian's files only, so other archives' dates say nothing of it.
    let mut date = None;
    for (place, suite) in options.suites.iter().enumerate() {
        let mut first_error = None;
        for mirror in mirrors.of(&suite.archive)? {
            match read_suite(mirror, suite, place, options, allow_stale) {
                Ok((found, made)) => {
                    packages.extend(found);
                    if suite.url.is_none() {
                        date = date.max(Some(made));
                    }
                    first_error = None;
                    break;
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if let Some(error) = first_error {
            return Err(match suite.url {
                None => error,
                Some(_) => AptError::OfSource {
                    name: suite.archive.clone(),
                    source: Box::new(error),
                },
            });
        }
    }
    Ok(Indexes {
        packages,
        date: date.unwrap_or_else(Date::now),
    })
}

fn read_suite(
    mirror: &str,
    suite: &Suite,
    place: usize,
    options: &IndexOptions<'_>,
    allow_stale: bool,
) -> Result<(Vec<Package>, Date), AptError> {
    if options.architectures_of(suite).is_empty() {
        return Ok((Vec::new(), Date::EPOCH));
    }
    let apt = PrivateApt::new()?;
    apt.write_source(mirror, suite, options)?;
    apt.update()?;
    let find = |name: &str| {
        apt.list(name)?.ok_or_else(|| AptError::NoIndex {
            mirror: mirror.to_owned(),
            suite: suite.name.clone(),
            what: name.to_owned(),
        })
    };
    let in_release = find("InRelease")?;
    let release = Release::open(&in_release, options.keys_of(suite))?;
    release.check(&in_release, &suite.name, Date::now(), allow_stale)?;
    let mut packages = Vec::new();
    for name in index_names(suite, &release, options) {
        let path = find(&name)?;
        let bytes = release.read_index(&path, &name)?;
        let text = String::from_utf8(bytes).map_err(|_| AptError::NotUtf8(path))?;
        let name = format!("{}/{name}", suite.name.trim_end_matches('/'));
        packages.extend(index::parse(&text, &name, place)?);
    }
    let wanted = options.architectures_of(suite);
    packages.retain(|it| it.architecture == "all" || wanted.contains(&&it.architecture));
    Ok((packages, release.date))
}

/// The indexes to read of a suite. An archive that is not Debian's may lack an architecture, unless
/// the architecture was asked of it by name.
fn index_names(suite: &Suite, release: &Release, options: &IndexOptions<'_>) -> Vec<String> {
    if is_flat(&suite.name) {
        return vec!["Packages".to_owned()];
    }
    let source = options.sources.get(&suite.archive);
    let may_lack = source.is_some_and(|source| source.architectures.is_none());
    let is_listed = |name: &String| release.files.contains_key(name);
    let mut names = Vec::new();
    for component in &suite.components {
        let name = |architecture: &str| format!("{component}/binary-{architecture}/Packages");
        let wanted = options.architectures_of(suite);
        let wanted: Vec<String> = wanted.into_iter().map(|it| name(it)).collect();
        let all = Some(name("all"))
            .filter(|name| suite.url.is_some() && release.splits_all && is_listed(name));
        // If none is listed, the error names the first.
        let keep_all = !may_lack || (all.is_none() && !wanted.iter().any(is_listed));
        names.extend(
            wanted
                .into_iter()
                .filter(|name| keep_all || is_listed(name)),
        );
        names.extend(all);
    }
    names
}

fn machine_allows_stale() -> bool {
    let output = Command::new("apt-config")
        .args(["shell", "CHECK", "Acquire::Check-Valid-Until/b"])
        .output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("'false'"))
}

/// A file to download.
#[derive(Clone, Debug)]
pub struct Download {
    /// The archive that serves it.
    pub archive: String,
    /// Path below the archive's directory.
    pub path: String,
    /// Where to put it.
    pub to: PathBuf,
    /// SHA-256 that it must have, lower-case hexadecimal.
    pub sha256: String,
    /// Size that it must have, in bytes.
    pub size: u64,
}

/// Downloads files through apt and verifies each. Returns the files that no mirror has, by their
/// index in `files`, each with a reason. Calls `progress` with the number of files done so far.
///
/// Asks a second mirror only for the files that the first one lacks.
pub fn download(
    mirrors: &Mirrors,
    files: &[Download],
    mut progress: impl FnMut(usize),
) -> Result<BTreeMap<usize, String>, AptError> {
    let apt = PrivateApt::new()?;
    let mut missing: BTreeMap<usize, String> = BTreeMap::new();
    for (place, file) in files.iter().enumerate() {
        match mirrors.of(&file.archive) {
            Ok(_) => missing.insert(place, "not tried".to_owned()),
            Err(error) => missing.insert(place, error.to_string()),
        };
    }
    let rounds = mirrors.0.values().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let wanted: Vec<(usize, String)> = missing
            .keys()
            .filter_map(|place| {
                let file = &files[*place];
                let mirror = mirrors.0.get(&file.archive)?.get(round)?;
                Some((*place, format!("{mirror}/{}", quote(&file.path))))
            })
            .collect();
        for batch in wanted.chunks(BATCH) {
            let done = files.len() - missing.len();
            let said = apt.download(batch, files, |count| progress(done + count))?;
            for (place, uri) in batch {
                replace_link(&files[*place])?;
                match verify(&files[*place]) {
                    Ok(()) => missing.remove(place),
                    Err(reason) => {
                        let reason = reason.unwrap_or_else(|| said_of(&said, uri));
                        let mirror = uri.strip_suffix(&quote(&files[*place].path)).unwrap_or(uri);
                        missing.insert(*place, format!("{mirror} has no such file: {reason}"))
                    }
                };
            }
        }
    }
    Ok(missing)
}

/// Checks that the file has arrived with the right size and hash. `Err(None)` if there is none.
fn verify(file: &Download) -> Result<(), Option<String>> {
    let Ok(mut opened) = fs::File::open(&file.to) else {
        return Err(None);
    };
    let mut hasher = Sha256::new();
    let size = io::copy(&mut opened, &mut hasher).map_err(|e| Some(e.to_string()))?;
    if size != file.size {
        return Err(Some(format!("size {size}, expected {}", file.size)));
    }
    let found = hex(&hasher.finalize());
    if found != file.sha256 {
        return Err(Some(format!("SHA-256 {found}, expected {}", file.sha256)));
    }
    Ok(())
}

/// Replaces a link by its file. apt makes links for mirrors in the file system.
fn replace_link(file: &Download) -> Result<(), AptError> {
    let is_link = fs::symlink_metadata(&file.to).is_ok_and(|metadata| metadata.is_symlink());
    if !is_link {
        return Ok(());
    }
    let replace = || {
        let content = fs::read(&file.to)?;
        fs::remove_file(&file.to)?;
        fs::write(&file.to, content)
    };
    replace().map_err(|source| io_error(&file.to, source))
}

/// Finds apt's message about one address: `Err:3 ADDRESS`, with the reason on the next line.
fn said_of(said: &str, uri: &str) -> String {
    let mut lines = said.lines();
    let reason = lines
        .find(|line| line.starts_with("Err:") && line.split(' ').any(|word| word == uri))
        .and_then(|_| lines.next())
        .or_else(|| said.lines().find_map(|line| line.strip_prefix("E: ")));
    let reason = reason.unwrap_or("apt gave no reason").trim();
    let reason = reason.split(" [IP:").next().unwrap_or(reason);
    reason.trim_end_matches([':', ' ']).to_owned()
}

/// A path, quoted for a URL.
fn quote(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02x}"),
        })
        .collect()
}

/// A temporary directory that apt can download into. If root runs apt, the user `_apt` downloads,
/// and so must own the directory.
pub fn download_directory() -> Result<TempDir, AptError> {
    let directory = temporary_directory()?;
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let apt = passwd
        .lines()
        .find_map(|line| line.strip_prefix("_apt:")?.split(':').nth(1)?.parse().ok());
    if let (true, Some(uid)) = (is_root, apt) {
        chown(directory.path(), Some(uid), None)
            .map_err(|source| io_error(directory.path(), source))?;
    }
    Ok(directory)
}

/// A temporary directory that every user may read.
fn temporary_directory() -> Result<TempDir, AptError> {
    let directory = tempfile::Builder::new()
        .prefix("crateyard-apt-")
        .tempdir()
        .map_err(|source| io_error(&std::env::temp_dir(), source))?;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), open)
        .map_err(|source| io_error(directory.path(), source))?;
    Ok(directory)
}

/// A directory in which apt runs without the machine's state.
struct PrivateApt {
    directory: TempDir,
}

impl PrivateApt {
    fn new() -> Result<Self, AptError> {
        let apt = PrivateApt {
            directory: temporary_directory()?,
        };
        for name in ["state/lists/partial", "cache/archives/partial", "etc"] {
            let path = apt.path(name);
            fs::create_dir_all(&path).map_err(|source| io_error(&path, source))?;
        }
        apt.write("status", "")?;
        apt.write("apt.conf", &apt.configuration())?;
        Ok(apt)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), AptError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|source| io_error(&path, source))
    }

    /// Settings that override the machine's configuration.
    fn configuration(&self) -> String {
        let directory = self.directory.path().display();
        format!(
            "#clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             APT::Update::Error-Mode \"any\";\n\
             Dir::State \"{directory}/state\";\n\
             Dir::State::status \"{directory}/status\";\n\
             Dir::Cache \"{directory}/cache\";\n\
             Dir::Etc::sourcelist \"{directory}/etc/archive.sources\";\n\
             Dir::Etc::sourceparts \"-\";\n\
             Dir::Etc::preferences \"-\";\n\
             Dir::Etc::preferencesparts \"-\";\n\
             Acquire::GzipIndexes \"false\";\n\
             Acquire::PDiffs \"false\";\n\
             Acquire::Languages \"none\";\n"
        )
    }

    fn write_source(
        &self,
        mirror: &str,
        suite: &Suite,
        options: &IndexOptions<'_>,
    ) -> Result<(), AptError> {
        let keyring = self.path("etc/keyring.gpg");
        fs::write(&keyring, &options.keys_of(suite).binary)
            .map_err(|source| io_error(&keyring, source))?;
        let words = [("the mirror", mirror), ("the suite", &suite.name)].into_iter();
        let components = suite.components.iter();
        for (what, text) in words.chain(components.map(|it| ("the component", it.as_str()))) {
            if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                let text = text.to_owned();
                return Err(AptError::NotAWord { what, text });
            }
        }
        let architectures: Vec<&str> = options
            .architectures_of(suite)
            .into_iter()
            .map(String::as_str)
            .collect();
        let text = format!(
            "Types: deb\nURIs: {mirror}\nSuites: {}\n{}Architectures: {}\n\
             Signed-By: {}\nTargets: Packages\n{}",
            suite.name,
            match is_flat(&suite.name) {
                true => String::new(),
                false => format!("Components: {}\n", suite.components.join(" ")),
            },
            architectures.join(" "),
            keyring.display(),
            if options.allow_stale {
                "Check-Valid-Until: no\n"
            } else {
                ""
            },
        );
        self.write("etc/archive.sources", &text)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(self.path("apt.conf"))
            .env("LC_ALL", "C");
        command
    }

    fn update(&self) -> Result<(), AptError> {
        let mut command = self.command("apt-get");
        command.args(["-q", "update"]);
        run(&mut command, "apt-get update").map(drop)
    }

    /// Finds a downloaded file by its name in the release file. apt puts the address before the
    /// name, but there is only one suite, so the end of the name is enough.
    fn list(&self, name: &str) -> Result<Option<PathBuf>, AptError> {
        let directory = self.path("state/lists");
        let end = format!("_{}", name.replace('/', "_"));
        let entries = fs::read_dir(&directory).map_err(|source| io_error(&directory, source))?;
        for entry in entries {
            let path = entry.map_err(|source| io_error(&directory, source))?.path();
            if path.to_string_lossy().ends_with(&end) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Downloads one batch and returns apt's messages. The caller checks which files have arrived.
    fn download(
        &self,
        batch: &[(usize, String)],
        files: &[Download],
        mut progress: impl FnMut(usize),
    ) -> Result<String, AptError> {
        let mut command = self.command(APT_HELPER);
        command.args(["-q", "download-file"]);
        for (place, uri) in batch {
            let file = &files[*place];
            command
                .arg(uri)
                .arg(&file.to)
                .arg(format!("SHA256:{}", file.sha256));
        }
        let not_found = |source| AptError::NotFound {
            program: APT_HELPER.to_owned(),
            source,
        };
        let stderr =
            tempfile::tempfile().map_err(|source| io_error(&std::env::temp_dir(), source))?;
        let mut errors = stderr
            .try_clone()
            .map_err(|source| io_error(&std::env::temp_dir(), source))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(not_found)?;
        let mut said = String::new();
        let mut count = 0;
        if let Some(stdout) = child.stdout.take() {
            for line in io::BufRead::lines(io::BufReader::new(stdout)).map_while(Result::ok) {
                if line.starts_with("Get:") {
                    progress(count);
                    count += 1;
                }
                said.push_str(&line);
                said.push('\n');
            }
        }
        child.wait().map_err(not_found)?;
        let read = io::Seek::rewind(&mut errors)
            .and_then(|()| io::Read::read_to_string(&mut errors, &mut said));
        read.map_err(|source| io_error(&std::env::temp_dir(), source))?;
        Ok(said)
    }
}

fn run(command: &mut Command, program: &str) -> Result<Output, AptError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| AptError::NotFound {
            program: program.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Err(AptError::Failed {
        program: program.to_owned(),
        said: match lines.is_empty() {
            true => output.status.to_string(),
            false => lines.join("; "),
        },
    })
}

fn io_error(path: &Path, source: io::Error) -> AptError {
    AptError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_told_by_their_path_then_guessed() {
        let mirrors = Mirrors::from_targets(
            "https://tools.example/apt/ bookworm main Packages\n\
             http://a.example/debian/ bookworm main Packages\n\
             http://a.example/debian/ bookworm main DEP-11\n\
             http://b.example/archive/debian/20250520T000000Z/ bookworm main Packages\n\
             https://vendor.example/linux/ bookworm stable Packages\n\
             http://a.example/debian-security/ bookworm-security main Packages\n",
        );
        assert_eq!(
            mirrors.of("debian").expect("mirrors"),
            [
                "http://a.example/debian",
                "http://b.example/archive/debian/20250520T000000Z",
                "https://tools.example/apt"
            ]
        );
        assert_eq!(
            mirrors.of("debian-security").expect("mirrors"),
            ["http://a.example/debian-security"]
        );
        let error = mirrors.of("other").expect_err("no mirror").to_string();
        assert!(error.contains("--mirror other=URL"), "{error}");
    }
}
