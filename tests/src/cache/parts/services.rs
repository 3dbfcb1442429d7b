//! Services that hold caches: nginx, a registry, a bucket.

use super::Running;
use crate::python;
use anyhow::{Result, ensure};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

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
        let policy = r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
             "Resource": "arn:aws:s3:::units/*"}]}"#;
        put(&format!("{url}?policy"), policy)?;
        Ok(Self {
            url,
            _server: server,
        })
    }
}

/// Returns the server's program.
pub fn moto() -> Result<PathBuf> {
    let programs = python::environment("moto", "moto[server,s3]==5.1.4\n")?;
    Ok(programs.join("moto_server"))
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
