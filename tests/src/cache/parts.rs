//! Parts of the tests: a cache that main has pushed, runners with empty stores, nginx, a registry.

use crate::checkout::{assemble, repository};
use crate::nix;
use crate::release::{Release, cache};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A program that ends with the test.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self(child))
    }

    /// Ends the program with all its children. It leads its own process group.
    pub fn kill_group(&mut self) -> Result<()> {
        duct::cmd!("kill", "-KILL", "--", format!("-{}", self.0.id())).run()?;
        self.0.wait()?;
        Ok(())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A signing key, and its trusted public key.
pub struct Key {
    pub file: PathBuf,
    pub public: String,
}

impl Key {
    /// Makes a key, or reads the existing one.
    pub fn at(file: &Path, name: &str) -> Result<Self> {
        if !file.exists() {
            fs::create_dir_all(file.parent().context("a file has a directory")?)?;
            let key = nix::nix(&["key", "generate-secret", "--key-name", name])?;
            fs::write(file, key)?;
        }
        let public = duct::cmd!("nix", "key", "convert-secret-to-public")
            .env("NIX_CONFIG", nix::SETTINGS)
            .stdin_path(file)
            .read()?;
        Ok(Self {
            file: file.to_owned(),
            public: public.trim().to_owned(),
        })
    }
}

/// The output of `assemble cache push --json`.
#[derive(Debug, Deserialize)]
pub struct Pushed {
    pub sent: usize,
    pub bytes: u64,
    pub requests: u64,
}

/// Main's cache: a directory that tests keep between runs, with all paths of this commit.
pub struct Main {
    pub directory: PathBuf,
    pub key: Key,
}

impl Main {
    /// Pushes the missing paths, once in each run.
    pub fn pushed() -> Result<&'static Main> {
        static PUSHED: OnceLock<Result<Main, String>> = OnceLock::new();
        let push = || -> Result<Main> {
            let main = Main {
                directory: cache("ci-cache")?,
                key: Key::at(&cache("ci-cache.key")?, "main-1")?,
            };
            main.push(&main.address(), &[])?;
            // Remove the builds of other commits.
            duct::cmd!(assemble(), "cache", "gc", &main.directory, "--grace", "0s")
                .stdout_null()
                .run()?;
            Ok(main)
        };
        let pushed = PUSHED.get_or_init(|| push().map_err(|error| format!("{error:#}")));
        pushed.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    pub fn address(&self) -> String {
        self.directory.display().to_string()
    }

    /// Returns the options for a cache that main has signed.
    pub fn from(&self, address: &str) -> Vec<String> {
        let mut options = self.without_key(address);
        options.extend(["--trusted-key".to_owned(), self.key.public.clone()]);
        options
    }

    pub fn without_key(&self, address: &str) -> Vec<String> {
        vec!["--cache".to_owned(), address.to_owned()]
    }

    /// Pushes this repository's images from the machine's store.
    pub fn push(&self, address: &str, options: &[&str]) -> Result<Pushed> {
        let output = self
            .push_command(address, options)
            .stdout(Stdio::piped())
            .output()?;
        ensure!(output.status.success(), "cache push --to {address} failed");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub fn start_push(&self, address: &str, options: &[&str]) -> Result<Running> {
        let mut command = self.push_command(address, options);
        Running::start(command.stdout(Stdio::null()).process_group(0))
    }

    fn push_command(&self, address: &str, options: &[&str]) -> Command {
        let mut command = Command::new(assemble());
        command
            .args(["cache", "push", "--json", "--to", address, "--workspace"])
            .arg(repository())
            .arg("--sign-key")
            .arg(&self.key.file)
            .args(options)
            .env("NIX_CONFIG", "warn-dirty = false\n");
        command
    }
}

/// An empty machine with its own store and home.
pub struct Runner {
    directory: TempDir,
}

/// The images of one build.
pub struct Images(Vec<Image>);

#[derive(Clone, Deserialize)]
pub struct Image {
    pub name: String,
    pub digest: String,
    pub size: u64,
}

impl Images {
    /// Returns the size of manifests, configurations and layers, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|image| image.size).sum()
    }

    pub fn digest(&self, name: &str) -> Result<String> {
        let found = self.0.iter().find(|image| image.name == name);
        Ok(found
            .with_context(|| format!("no image {name}"))?
            .digest
            .clone())
    }
}

impl Runner {
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("crateyard-runner-")
            .tempdir()?;
        fs::create_dir(directory.path().join("home"))?;
        Ok(Self { directory })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Returns the paths in its store.
    pub fn paths(&self) -> Result<Vec<String>> {
        let store = self.store().join("nix/store");
        if !store.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(store)?;
        entries
            .map(|it| Ok(it?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// Builds the images. Also returns Nix's messages.
    pub fn build(
        &self,
        workspace: &Path,
        caches: &[String],
        nix: &[&str],
    ) -> Result<(Images, String)> {
        self.build_some(&[], workspace, caches, nix)
    }

    pub fn build_some(
        &self,
        names: &[&str],
        workspace: &Path,
        caches: &[String],
        nix: &[&str],
    ) -> Result<(Images, String)> {
        let store = self.store().display().to_string();
        let workspace = workspace.display().to_string();
        let mut arguments = vec![
            "build",
            "--json",
            "--store",
            &store,
            "--workspace",
            &workspace,
        ];
        arguments.extend(names);
        arguments.extend(caches.iter().map(String::as_str));
        // Nix builds in another store only with these options.
        arguments.extend(["--", "--builders", "", "-L", "--max-jobs", "2"]);
        arguments.extend(nix);
        let (text, said) = self.assemble(&arguments)?;
        Ok((Images(serde_json::from_str(&text)?), said))
    }

    /// Runs a verb of `assemble cache` on the images of a workspace.
    pub fn cache(
        &self,
        verb: &str,
        workspace: &Path,
        caches: &[String],
        more: &[&str],
    ) -> Result<String> {
        let store = self.store().display().to_string();
        let workspace = workspace.display().to_string();
        let mut arguments = vec!["cache", verb, "--store", &store, "--workspace", &workspace];
        arguments.extend(caches.iter().map(String::as_str));
        arguments.extend(more);
        Ok(self.assemble(&arguments)?.0)
    }

    /// Runs the command line with this runner's home. Returns its standard output and standard
    /// error.
    pub fn assemble(&self, arguments: &[&str]) -> Result<(String, String)> {
        let output = self.command(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("assemble {} failed:\n{said}", arguments.join(" "));
        }
        Ok((String::from_utf8(output.stdout)?, said))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assemble());
        command
            .args(arguments)
            .env("HOME", self.path("home"))
            .env_remove("XDG_CACHE_HOME")
            .env(
                "NIX_CONFIG",
                "warn-dirty = false\nmax-jobs = 2\nconnect-timeout = 2\nstalled-download-timeout = \
                 4\n",
            );
        command
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // The store's directories are read-only.
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(self.directory.path())
            .status();
    }
}

/// nginx in front of a directory.
pub struct Nginx {
    pub url: String,
    log: PathBuf,
    _server: Running,
    _directory: TempDir,
}

impl Nginx {
    pub fn serving(root: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let here = directory.path().display();
        let configuration = format!(
            "daemon off; master_process off; user root; pid {here}/pid; error_log \
             {here}/error.log; worker_processes 1;\nevents {{}}\nhttp {{\nlog_format counted \
             '$request_uri $status $body_bytes_sent';\naccess_log {here}/access.log \
             counted;\nclient_body_temp_path {here}/body; proxy_temp_path {here}/proxy; \
             fastcgi_temp_path {here}/fastcgi;\nuwsgi_temp_path {here}/uwsgi; scgi_temp_path \
             {here}/scgi;\nserver {{ listen 127.0.0.1:{port}; root {}; }}\n}}\n",
            root.display()
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        let server = Running::start(
            Command::new("nginx")
                .arg("-p")
                .arg(directory.path())
                .arg("-c")
                .arg(&file)
                .stderr(Stdio::null()),
        )?;
        wait_for(port)?;
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            log: directory.path().join("access.log"),
            _server: server,
            _directory: directory,
        })
    }

    /// Returns the fetched archives, with their sizes.
    pub fn archives(&self) -> Result<Vec<(String, u64)>> {
        let text = fs::read_to_string(&self.log)?;
        let fetched = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (path, status, bytes) = (words.next()?, words.next()?, words.next()?);
            (path.starts_with("/nar/") && status == "200")
                .then(|| Some((path.to_owned(), bytes.parse().ok()?)))?
        });
        Ok(fetched.collect())
    }
}

/// docker-registry on the loopback address.
pub struct Registry {
    pub host: String,
    directory: TempDir,
    _server: Running,
}

impl Registry {
    pub fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let here = directory.path();
        let configuration = format!(
            "version: 0.1\nlog:\n  accesslog: {{disabled: false}}\n  level: error\nstorage:\n  \
             filesystem:\n    rootdirectory: {}/data\nhttp:\n  addr: 127.0.0.1:{port}\n",
            here.display()
        );
        let file = here.join("config.yml");
        fs::write(&file, configuration)?;
        let log = fs::File::create(here.join("log"))?;
        let server = Running::start(
            Command::new("docker-registry")
                .arg("serve")
                .arg(&file)
                .stdout(log)
                .stderr(Stdio::null()),
        )?;
        wait_for(port)?;
        Ok(Self {
            host: format!("127.0.0.1:{port}"),
            directory,
            _server: server,
        })
    }

    /// Returns the number of bytes of blobs that were fetched so far, from the access log: `"GET
    /// /v2/…/blobs/… HTTP/1.1" 206 1234`.
    pub fn blob_bytes(&self) -> Result<u64> {
        let text = fs::read_to_string(self.directory.path().join("log"))?;
        let fetched = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once("\"GET ")?;
            let (request, answer) = rest.split_once("\" ")?;
            let bytes = answer.split(' ').nth(1)?;
            request
                .contains("/blobs/")
                .then(|| bytes.parse::<u64>().ok())?
        });
        Ok(fetched.sum())
    }

    /// Waits until it has stored a blob.
    pub fn wait_for_blob(&self) -> Result<()> {
        let begin = Instant::now();
        while self.stored()? == 0 {
            ensure!(
                begin.elapsed() < Duration::from_secs(120),
                "no blob arrived"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Returns the size of its stored blobs, in bytes.
    pub fn stored(&self) -> Result<u64> {
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs");
        if !blobs.exists() {
            return Ok(0);
        }
        let text = duct::cmd!("find", blobs, "-name", "data", "-printf", "%s\n").read()?;
        Ok(text
            .lines()
            .filter_map(|line| line.parse::<u64>().ok())
            .sum())
    }
}

/// A bucket that everybody may read, on an S3 server (moto, a Python package).
pub struct Bucket {
    pub url: String,
    _server: Running,
}

impl Bucket {
    pub fn start() -> Result<Self> {
        let program = moto()?;
        let port = free_port()?;
        let server = Running::start(
            Command::new(program)
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        wait_for(port)?;
        let url = format!("http://127.0.0.1:{port}/units");
        let put = |url: &str, body: &str| {
            duct::cmd!(
                "curl",
                "--silent",
                "--fail",
                "--request",
                "PUT",
                "--data-binary",
                "@-",
                "-H",
                "Content-Type: application/json",
                url
            )
            .stdin_bytes(body)
            .stdout_null()
            .run()
        };
        put(&url, "")?;
        let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
            "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::units/*"}]}"#;
        put(&format!("{url}?policy"), policy)?;
        Ok(Self {
            url,
            _server: server,
        })
    }
}

/// Returns the server's program, which is kept between runs.
pub fn moto() -> Result<PathBuf> {
    let environment = cache("moto")?;
    let program = environment.join("bin/moto_server");
    if !program.exists() {
        duct::cmd!("python3", "-m", "venv", &environment)
            .stdout_null()
            .run()?;
        let pip = environment.join("bin/pip");
        duct::cmd!(pip, "install", "--quiet", "moto[server,s3]==5.1.4")
            .stdout_null()
            .run()?;
    }
    Ok(program)
}

/// Counts the paths of a cache in a directory. Fails if one is incomplete.
pub fn whole(directory: &Path) -> Result<usize> {
    if !directory.exists() {
        return Ok(0);
    }
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|it| it != "narinfo") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let info = crateyard_nix::NarInfo::parse(&text, &path.display().to_string())?;
        let archive = directory.join(&info.url);
        let size = fs::metadata(&archive)
            .with_context(|| format!("{} is missing", archive.display()))?
            .len();
        ensure!(
            Some(size) == info.file_size,
            "{} is cut off",
            archive.display()
        );
        for reference in info.references.iter().filter(|it| **it != info.path) {
            let there = directory.join(format!("{}.narinfo", reference.hash()));
            ensure!(
                there.exists(),
                "{} refers to {reference}, which is missing",
                info.path
            );
        }
        count += 1;
    }
    Ok(count)
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for(port: u16) -> Result<()> {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(
            begin.elapsed() < Duration::from_secs(20),
            "nothing listens at port {port}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Newer versions of Nix take packs from `assemble cache serve`, with the signatures of this Nix.
pub fn other_nix() -> Result<()> {
    let main = Main::pushed()?;
    let runner = Runner::new()?;
    let packs = format!("pack:{}", runner.path("packs").display());
    main.push(&packs, &["--packages-only"])?;
    let mut command = runner.command(&["cache", "serve"]);
    command.args(main.from(&packs)).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut url = String::new();
    let stdout = child.stdout.take().context("serve prints nothing")?;
    BufReader::new(stdout).read_line(&mut url)?;
    let _server = Running(child);
    let flake = format!(
        "git+file://{}#gateway-image.outPath",
        repository().display()
    );
    let image = nix::nix(&["eval", "--raw", &flake])?;
    for suite in ["trixie", "sid"] {
        let release = Release::with_nix(suite)?;
        let settings = format!(
            "sandbox = true\nsubstituters = {}\ntrusted-public-keys = {}\nrequire-sigs = \
             true\nmax-jobs = 0\n",
            url.trim(),
            main.key.public
        );
        let environment = [("NIX_CONFIG", settings.as_str()), ("NIX_REMOTE", "local")];
        let store = format!("/tmp/crateyard-cold-{}", std::process::id());
        let result = release.run(
            &[],
            &environment,
            &["nix-store", "--store", &store, "--realise", image.trim()],
        );
        let place = release.path(&store);
        let is_there = place.join(&image.trim()[1..]).join("index.json").exists();
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(&place)
            .status();
        fs::remove_dir_all(&place)?;
        let (_, said) = result?;
        ensure!(is_there, "{suite}: the image is not there:\n{said}");
        println!("the Nix of {suite} reads packs through serve");
    }
    Ok(())
}
