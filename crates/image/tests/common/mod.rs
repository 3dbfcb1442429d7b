//! The parts that the tests share: packages, layers and images made on the spot, and real tools.
#![allow(dead_code, missing_docs)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crateyard_image::spec::{ImageSpec, LayerRecord, LayerSpec};
use crateyard_oci::{Layout, media_type};
use serde_json::{Value, json};

pub(crate) const EPOCH: u64 = 1_700_000_000;

/// A Debian package that is being made.
pub(crate) struct Package {
    control: String,
    control_files: Vec<(String, String)>,
    data: tar::Builder<Vec<u8>>,
}

impl Package {
    pub(crate) fn new(name: &str, version: &str) -> Package {
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Nobody \
             <nobody@example.org>\nDescription: made for a test\n with a second line\n"
        );
        let mut package = Package {
            control,
            control_files: Vec::new(),
            data: tar::Builder::new(Vec::new()),
        };
        package.directory("./", 0o755);
        package
    }

    pub(crate) fn control_file(mut self, name: &str, text: &str) -> Package {
        self.control_files.push((name.into(), text.into()));
        self
    }

    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> &mut Package {
        self.entry(path, tar::EntryType::Directory, mode, "", b"")
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> &mut Package {
        self.entry(path, tar::EntryType::Regular, mode, "", content)
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> &mut Package {
        self.entry(path, tar::EntryType::Symlink, 0o777, target, b"")
    }

    pub(crate) fn hard_link(&mut self, path: &str, target: &str) -> &mut Package {
        self.entry(path, tar::EntryType::Link, 0o644, target, b"")
    }

    pub(crate) fn entry(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: &str,
        content: &[u8],
    ) -> &mut Package {
        let header = raw_header(path.as_bytes(), kind, mode, link, content.len() as u64);
        self.data.append(&header, content).unwrap();
        self
    }

    /// Writes the package as a file.
    pub(crate) fn write(self, path: &Path) -> PathBuf {
        let mut control = tar::Builder::new(Vec::new());
        let files = [("control".to_owned(), self.control)];
        for (name, text) in files.iter().chain(&self.control_files) {
            let path = format!("./{name}");
            let kind = tar::EntryType::Regular;
            let header = raw_header(path.as_bytes(), kind, 0o644, "", text.len() as u64);
            control.append(&header, text.as_bytes()).unwrap();
        }
        let control = gzip(&control.into_inner().unwrap());
        let data = self.data.into_inner().unwrap();
        let members: [(&str, &[u8]); 3] = [
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", &control),
            ("data.tar", &data),
        ];
        let mut deb = b"!<arch>\n".to_vec();
        for (name, bytes) in members {
            writeln!(
                deb,
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
                0,
                0,
                0,
                "100644",
                bytes.len()
            )
            .unwrap();
            deb.extend_from_slice(bytes);
            if bytes.len() % 2 == 1 {
                deb.push(b'\n');
            }
        }
        std::fs::write(path, deb).unwrap();
        path.to_owned()
    }
}

/// Makes a header with any name, also those that the tar crate refuses to write.
pub(crate) fn raw_header(
    path: &[u8],
    kind: tar::EntryType,
    mode: u32,
    link: &str,
    size: u64,
) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH);
    header.set_size(size);
    header.set_cksum();
    header
}

/// An entry of a tar stream: path, kind, target of a link, content.
pub(crate) type Raw<'a> = (&'a str, tar::EntryType, &'a str, &'a [u8]);

/// Makes a tar stream, also one that the tar crate refuses to write.
pub(crate) fn raw_tar(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, link, content) in entries {
        let header = raw_header(path.as_bytes(), *kind, 0o755, link, content.len() as u64);
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The content of the file `oci-layout`.
pub(crate) const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Returns the text of an index of these manifests.
pub(crate) fn index(manifests: &Value) -> String {
    json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests}).to_string()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Makes two small packages: `base` with links, a set-user-id program, a configuration file, paths
/// of both sides of merged /usr; `extra` on top.
pub(crate) fn packages(directory: &Path) -> (PathBuf, PathBuf) {
    let mut base = Package::new("base-demo", "1.0-1")
        .control_file("conffiles", "/etc/demo.conf\n")
        .control_file("md5sums", "d41d8cd98f00b204e9800998ecf8427e  bin/demo\n")
        .control_file("postinst", "#!/bin/sh\nexit 1\n");
    base.directory("./etc/", 0o755)
        .file("./etc/demo.conf", 0o640, b"colour = blue\n")
        .directory("./bin/", 0o755)
        .file("./bin/demo", 0o4755, b"#!/bin/sh\necho demo\n")
        .directory("./usr/", 0o755)
        .directory("./usr/bin/", 0o755)
        .file("./usr/bin/zz-tool", 0o755, b"a tool under two names")
        .hard_link("./usr/bin/aa-tool", "./usr/bin/zz-tool")
        .symlink("./usr/bin/link", "zz-tool")
        .directory("./usr/share/doc/", 0o755)
        .file("./usr/share/doc/copyright", 0o644, b"free\n")
        .file("./usr/share/doc/NEWS", 0o644, b"none\n")
        .directory("./var/tmp/", 0o1777);
    let base = base.write(&directory.join("base-demo.deb"));
    let mut extra = Package::new("extra-demo", "2.0");
    extra
        .directory("./usr/", 0o755)
        .directory("./usr/lib/", 0o755)
        .file("./usr/lib/extra.so", 0o644, b"extra");
    let extra = extra.write(&directory.join("extra-demo.deb"));
    (base, extra)
}

pub(crate) fn layer_spec(sources: Value, algorithm: &str) -> LayerSpec {
    serde_json::from_value(json!({
        "version": 1, "comment": "test layer", "epoch": EPOCH,
        "compression": {"algorithm": algorithm}, "sources": sources,
    }))
    .unwrap()
}

pub(crate) fn make_layer(
    sources: Value,
    algorithm: &str,
    out: &Path,
    threads: usize,
) -> LayerRecord {
    crateyard_image::layer::make(&layer_spec(sources, algorithm), out, threads).unwrap()
}

/// Returns the uncompressed tar of a layer.
pub(crate) fn layer_tar(out: &Path, record: &LayerRecord) -> Vec<u8> {
    let blob = std::fs::File::open(out.join("blob")).unwrap();
    let mut bytes = Vec::new();
    let mut reader = crateyard_unpack::layer::decompress(&record.media_type, blob).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

/// An entry of a tar stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TarEntry {
    pub(crate) path: String,
    pub(crate) kind: tar::EntryType,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// The content of a file, or the target of a link.
    pub(crate) content: String,
}

/// Returns the entries of a layer as another implementation reads them. Checks that each has the
/// time of the tests' layers.
pub(crate) fn read_tar(bytes: &[u8]) -> Vec<TarEntry> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries.map(|entry| read_entry(entry.unwrap())).collect()
}

fn read_entry(mut entry: tar::Entry<'_, &[u8]>) -> TarEntry {
    let path = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
    assert_eq!(entry.header().mtime().unwrap(), EPOCH, "{path}");
    let uid = entry.header().uid().unwrap();
    let gid = entry.header().gid().unwrap();
    let link = entry.link_name_bytes().map(|link| link.to_vec());
    let mut content = link.unwrap_or_default();
    entry.read_to_end(&mut content).unwrap();
    TarEntry {
        kind: entry.header().entry_type(),
        mode: entry.header().mode().unwrap(),
        uid: pax_number(&mut entry, "uid").unwrap_or(uid),
        gid: pax_number(&mut entry, "gid").unwrap_or(gid),
        content: String::from_utf8(content).unwrap(),
        path,
    }
}

/// Returns a number from an entry's extended header, where those stand that a plain header has no
/// room for. The tar crate does not apply it.
fn pax_number(entry: &mut tar::Entry<'_, &[u8]>, key: &str) -> Option<u64> {
    let records = entry.pax_extensions().unwrap()?;
    let mut records = records.map(Result::unwrap);
    let record = records.find(|record| record.key() == Ok(key))?;
    Some(record.value().unwrap().parse().unwrap())
}

pub(crate) fn image_spec(layers: &[&Path], more: Value) -> ImageSpec {
    let mut spec = json!({
        "version": 1, "name": "demo", "references": ["demo:1.0"], "created": EPOCH,
        "platform": {"os": "linux", "architecture": "amd64"},
        "layers": layers,
        "config": {
            "user": "app", "exposedPorts": ["8080"],
            "env": [{"name": "PATH", "value": "/usr/bin:/bin"}, {"name": "A", "value": "1"}],
            "labels": {"org.opencontainers.image.title": "demo", "a": "b"},
            "workingDir": "/srv", "volumes": ["/data"], "stopSignal": "SIGTERM",
        },
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

/// Returns `/etc/passwd` or `/etc/group` with the user or group `app`.
pub(crate) fn accounts(to: &str, id: u32) -> Value {
    let rest = match to {
        "/etc/passwd" => format!("{id}::/:/usr/sbin/nologin"),
        _ => String::new(),
    };
    json!({"kind": "text", "to": to, "text": format!("app:x:{id}:{rest}\n")})
}

/// Makes a whole image of two layers in `directory/image`.
pub(crate) fn demo_image(directory: &Path) -> Layout {
    let (base, extra) = packages(directory);
    let (one, two) = (directory.join("one.layer"), directory.join("two.layer"));
    make_layer(
        json!([{"kind": "debian", "packages": [base]}, accounts("/etc/passwd", 10001),
            accounts("/etc/group", 10001)]),
        "gzip",
        &one,
        2,
    );
    make_layer(
        json!([{"kind": "debian", "packages": [extra], "alsoInstalled": [base]},
               {"kind": "text", "to": "/srv/hello", "text": "hello\n"}]),
        "gzip",
        &two,
        2,
    );
    let out = directory.join("image");
    let mut spec = image_spec(&[&one, &two], json!({}));
    spec.config.entrypoint = Some(vec!["/usr/bin/demo".to_owned()]);
    spec.config.healthcheck = serde_json::from_value(json!({
        "test": ["CMD", "/bin/demo", "health"], "interval": 30_000_000_000_u64, "retries": 3,
    }))
    .unwrap();
    crateyard_image::layout::make(&spec, &out).unwrap();
    Layout::open(&out).unwrap()
}

/// Whether a tool is installed. If not, prints that the test is skipped.
pub(crate) fn has_tool(test: &str, tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&paths);
    // Debian installs runc in a directory that only root has in PATH.
    let found = directories
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(tool).is_file());
    if !found {
        eprintln!("SKIPPED: {test}: {tool} is not installed");
    }
    found
}

pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub(crate) fn stdout(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).unwrap()
}

/// Whether the test runs as root. If not, prints that it is skipped.
pub(crate) fn is_root(test: &str) -> bool {
    let root = stdout(Command::new("id").arg("-u")).trim() == "0";
    if !root {
        eprintln!("SKIPPED: {test}: it needs root");
    }
    root
}

/// A small generator that gives the same numbers on every run.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
