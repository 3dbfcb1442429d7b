//! Parts that tests share: a real registry, layouts to push, and a client.

#![allow(missing_docs, clippy::new_without_default)]

pub mod aws;
pub mod azure;
pub mod cluster;
pub mod google;
pub mod kms;
pub mod moments;
pub mod mutations;
pub mod proxy;
mod request;
pub mod scripted;
pub mod sigstore;
pub mod softhsm;
pub mod tokens;
pub mod vault;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crateyard_oci::{Digest, Reference};
use crateyard_registry::progress::{Event, Progress};
use crateyard_registry::{Client, Environment, Options, Retry, Timeouts};
use serde_json::{Value, json};

/// Reports that a test did not run, and why.
pub fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED: {test}: {reason}");
}

/// Whether `program` can be started.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Skips the test if a program is not installed.
#[macro_export]
macro_rules! need {
    ($test:literal, $($program:literal),+) => {
        $(if !$crate::has($program) {
            $crate::skip($test, concat!($program, " is not installed"));
            return;
        })+
    };
}

/// Runs a future to completion.
pub fn run<F: Future>(future: F) -> F::Output {
    crateyard_registry::run(future)
}

/// Debian's docker-registry on loopback, with its own port and directory.
pub struct Registry {
    child: Option<Child>,
    config: PathBuf,
    pub address: SocketAddr,
    pub directory: tempfile::TempDir,
}

impl Registry {
    /// Starts one without authentication, over plain HTTP.
    pub fn start() -> Registry {
        Registry::start_with(json!({}), json!({}))
    }

    /// Starts one with additional settings in `http` and `auth`.
    pub fn start_with(http: Value, auth: Value) -> Registry {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": directory.path().join("store")},
                "delete": {"enabled": true},
            },
            "http": {"addr": address.to_string(), "secret": "a secret for all runs"},
        });
        for (key, value) in http.as_object().unwrap() {
            config["http"][key] = value.clone();
        }
        if auth.as_object().is_some_and(|auth| !auth.is_empty()) {
            config["auth"] = auth;
        }
        let path = directory.path().join("config.yml");
        // JSON is also YAML.
        std::fs::write(&path, config.to_string()).unwrap();
        let mut registry = Registry {
            child: None,
            config: path,
            address,
            directory,
        };
        registry.restart();
        registry
    }

    /// Starts it, or restarts it.
    pub fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "docker-registry does not start"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it without warning, like a power cut.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Returns a reference to `name` in it.
    pub fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns an address on which nothing listens now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Records a client's progress.
#[derive(Default)]
pub struct Told {
    pub retries: Mutex<Vec<String>>,
    pub notices: Mutex<Vec<String>>,
}

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Retry(retry) => self.retries.lock().unwrap().push(format!(
                "{}: {} wait {:?} asked {}",
                retry.request, retry.cause, retry.wait, retry.asked
            )),
            Event::Notice { message } => self.notices.lock().unwrap().push(message.to_owned()),
            _ => {}
        }
    }
}

/// The settings of a client with its own home directory, and with short waits.
pub struct Home {
    pub directory: tempfile::TempDir,
    pub options: Options,
    pub told: Arc<Told>,
}

impl Home {
    pub fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment {
            home: Some(directory.path().to_owned()),
            path: std::env::var_os("PATH"),
            ..Environment::default()
        };
        let options = Options {
            retry: Retry {
                attempts: 6,
                first_wait: Duration::from_millis(20),
                longest_wait: Duration::from_millis(200),
                longest_asked: Duration::from_secs(5),
            },
            timeouts: Timeouts {
                stall: Duration::from_secs(5),
                ..Timeouts::default()
            },
            ..Options::new(environment)
        };
        Home {
            directory,
            options,
            told: Arc::default(),
        }
    }

    pub fn client(&self) -> Client {
        Client::with_progress(self.options.clone(), self.told.clone())
    }

    pub fn docker_config(&self, config: &Value) {
        let directory = self.directory.path().join(".docker");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    }
}

/// Returns incompressible bytes that depend on `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// An OCI layout for tests.
pub struct Layout {
    pub directory: tempfile::TempDir,
    listed: Vec<Value>,
    sizes: BTreeMap<String, u64>,
}

impl Layout {
    pub fn new() -> Layout {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        std::fs::write(
            directory.path().join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        let layout = Layout {
            directory,
            listed: Vec::new(),
            sizes: BTreeMap::new(),
        };
        layout.write_index();
        layout
    }

    /// Makes a layout with one image, whose layers have these sizes.
    pub fn with_image(seed: u64, sizes: &[usize]) -> Layout {
        let mut layout = Layout::new();
        let layers: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(at, size)| noise(seed * 1000 + at as u64, *size))
            .collect();
        let image = layout.image(&layers, "amd64");
        layout.list(image);
        layout
    }

    /// Makes a layout with one image that can be unpacked. Its layer is an archive with a file of
    /// this size.
    pub fn with_sound_image(seed: u64, size: usize) -> Layout {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(size as u64);
        header.set_mode(0o644);
        let content = noise(seed, size);
        builder
            .append_data(&mut header, "file", content.as_slice())
            .unwrap();
        let mut layout = Layout::new();
        let image = layout.image(&[builder.into_inner().unwrap()], "amd64");
        layout.list(image);
        layout
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn source(&self) -> Arc<crateyard_registry::Source> {
        crateyard_registry::Source::open(self.path()).unwrap()
    }

    /// Returns the total size of all blobs and manifests.
    pub fn size(&self) -> u64 {
        self.sizes.values().sum()
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path()
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    /// Adds a blob, and returns its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        std::fs::write(self.blob_path(digest.as_str()), bytes).unwrap();
        self.sizes.insert(digest.to_string(), bytes.len() as u64);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Adds an image, and returns its descriptor.
    pub fn image(&mut self, layers: &[Vec<u8>], architecture: &str) -> Value {
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar", layer))
            .collect();
        let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        );
        let media_type = crateyard_oci::media_type::MANIFEST;
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config,
            "layers": layers});
        let mut descriptor = self.blob(media_type, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        descriptor
    }

    /// Adds an index, and returns its descriptor.
    pub fn index(&mut self, manifests: &[Value]) -> Value {
        let media_type = crateyard_oci::media_type::INDEX;
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        self.blob(media_type, index.to_string().as_bytes())
    }

    /// Adds an artifact that refers to `subject`, and returns its descriptor.
    pub fn artifact(&mut self, subject: &Value, artifact_type: &str, content: &[u8]) -> Value {
        let layer = self.blob("application/spdx+json", content);
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let mut subject = subject.clone();
        subject.as_object_mut().unwrap().remove("platform");
        let media_type = crateyard_oci::media_type::MANIFEST;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "artifactType": artifact_type,
            "config": config, "layers": [layer], "subject": subject,
        });
        self.blob(media_type, manifest.to_string().as_bytes())
    }

    /// Adds an image to index.json.
    pub fn list(&mut self, descriptor: Value) {
        self.listed.push(descriptor);
        self.write_index();
    }

    pub fn list_as(&mut self, mut descriptor: Value, name: &str) {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.list(descriptor);
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.listed});
        std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    /// Returns the same layout as an archive.
    pub fn archive(&self) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".tar").tempfile().unwrap();
        let mut builder = tar::Builder::new(file.as_file());
        builder.append_dir_all(".", self.path()).unwrap();
        builder.finish().unwrap();
        drop(builder);
        file
    }
}

/// Checks that a repository has everything below a reference's tag, and returns the digest that the
/// tag names.
pub async fn check_whole(client: &Client, reference: &Reference) -> Option<Digest> {
    let repository = client.repository(reference).unwrap();
    let root = repository.manifest(&reference.version()).await.unwrap()?;
    let digest = root.digest.clone();
    let mut waiting = vec![root];
    while let Some(manifest) = waiting.pop() {
        for blob in &manifest.blobs {
            let mut download = repository.blob(&blob.digest, 0).await.unwrap();
            let mut hasher = blob.digest.hasher();
            let mut length = 0;
            while let Some(piece) = download.chunk().await.unwrap() {
                length += piece.len() as u64;
                hasher.update(&piece);
            }
            assert_eq!(
                (hasher.finish(), length),
                (blob.digest.clone(), blob.size),
                "a blob of {reference}"
            );
        }
        for child in &manifest.manifests {
            let version = crateyard_oci::TagOrDigest::Digest(child.digest.clone());
            waiting.push(
                repository
                    .manifest(&version)
                    .await
                    .unwrap()
                    .expect("a child of an index"),
            );
        }
    }
    Some(digest)
}
