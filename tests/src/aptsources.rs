//! Packages of a vendor's apt repository, in images.

use crate::checkout::assemble;
use crate::engine::run;
use crate::nix;
use crate::trial::trial_with;
use crate::workspaces::{attribute, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let tools = &["dpkg-deb", "gpg", "gpgconf", "apt-get", "umoci", "runc"];
    let test = |name: &str, run| trial_with(format!("aptsources::{name}"), tools, run);
    vec![test("a_vendors_package_is_in_the_image", vendors_package)]
}

/// The path of the vendor's key. The root is a package whose units see the files in it, except
/// those in directories like this one.
const KEY: &str = ".apt/vendor.asc";

/// An archive in one directory, with real packages, its own key and a web server.
struct Vendor {
    directory: TempDir,
    address: String,
    /// The number of requests that the server has answered.
    asked: Arc<AtomicUsize>,
}

impl Vendor {
    fn start() -> Result<Vendor> {
        let directory = tempfile::tempdir()?;
        let home = directory.path().join("gnupg");
        fs::create_dir(&home)?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        let root = directory.path().join("www");
        fs::create_dir(&root)?;
        let asked = Arc::new(AtomicUsize::new(0));
        let vendor = Vendor {
            address: format!("http://{}", serve(root, asked.clone())?),
            directory,
            asked,
        };
        let generate = "--quick-generate-key vendor@test.example rsa2048 sign never";
        vendor.gpg(&generate.split(' ').collect::<Vec<_>>())?;
        Ok(vendor)
    }

    fn www(&self, name: &str) -> PathBuf {
        self.directory.path().join("www").join(name)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn gpg(&self, arguments: &[&str]) -> Result<String> {
        let home = self.directory.path().join("gnupg");
        let always = ["--batch", "--quiet", "--pinentry-mode", "loopback"];
        let command = always.into_iter().chain(["--passphrase", ""]);
        let command = duct::cmd("gpg", command.chain(arguments.iter().copied()));
        Ok(command.env("GNUPGHOME", home).read()?)
    }

    /// Publishes the package `vendor-motd` with a text, and signs the archive.
    fn publish(&self, version: &str, text: &str) -> Result<()> {
        let tree = self.directory.path().join(format!("tree-{version}"));
        for directory in ["DEBIAN", "usr/share/vendor"] {
            fs::create_dir_all(tree.join(directory))?;
        }
        fs::write(tree.join("usr/share/vendor/motd"), text)?;
        let control = format!(
            "Package: vendor-motd\nVersion: {version}\nArchitecture: amd64\n\
             Maintainer: Vendor <vendor@test.example>\nDepends: libc6 (>= 2.30)\n\
             Description: a text\n"
        );
        fs::write(tree.join("DEBIAN/control"), &control)?;
        let name = format!("vendor-motd_{version}_amd64.deb");
        let deb = self.www(&name);
        duct::cmd!("dpkg-deb", "--root-owner-group", "--build", &tree, &deb)
            .stdout_null()
            .run()?;
        let content = fs::read(&deb)?;
        let index = format!(
            "{control}Filename: ./{name}\nSize: {}\nSHA256: {}\n\n",
            content.len(),
            sha256(&content)
        );
        fs::write(self.www("Packages"), &index)?;
        let release = format!(
            "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n {} {} Packages\n",
            sha256(index.as_bytes()),
            index.len()
        );
        let plain = self.directory.path().join("Release");
        fs::write(&plain, release)?;
        let (plain, signed) = (plain.to_string_lossy(), self.www("InRelease"));
        let output = signed.to_string_lossy();
        self.gpg(&["--yes", "--clearsign", "--output", &output, &plain])?;
        Ok(())
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        let home = self.directory.path().join("gnupg");
        let stop = duct::cmd!("gpgconf", "--kill", "all").env("GNUPGHOME", home);
        let _ = stop.stderr_null().unchecked().run();
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves the files of a directory on loopback.
fn serve(root: PathBuf, asked: Arc<AtomicUsize>) -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            asked.fetch_add(1, Ordering::SeqCst);
            let path = first
                .split(' ')
                .nth(1)
                .unwrap_or("/")
                .trim_start_matches(['/', '.']);
            // apt encodes the tilde, Nix does not.
            let path = path.replace("%7e", "~");
            let answer = match fs::read(root.join(path)) {
                Ok(content) => (200, content),
                Err(_) => (404, Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.0,
                answer.1.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&answer.1);
        }
    });
    Ok(address)
}

fn lock(workspace: &Path) -> Result<()> {
    duct::cmd!(assemble(), "lock", "--without-toolchain")
        .dir(workspace)
        .env("no_proxy", "127.0.0.1")
        .stdout_null()
        .run()?;
    Ok(())
}

fn fetch_set(workspace: &Path) -> Result<()> {
    duct::cmd!(assemble(), "fetch", "--sets", "base,images.motd")
        .dir(workspace)
        .env("no_proxy", "127.0.0.1")
        .stdout_null()
        .run()?;
    Ok(())
}

/// An image has a package that was fetched before, even without the vendor. Nix downloads a newer
/// one, which nobody fetched. The key's file does not change the locked packages.
fn vendors_package() -> Result<()> {
    let vendor = Vendor::start()?;
    vendor.publish("1.0~rc1", "the first text\n")?;
    let main = "fn main() { print!(\"{}\", \
                std::fs::read_to_string(\"/usr/share/vendor/motd\").unwrap()); }";
    let workspace = small("motd", main, "")?;
    let directory = workspace.path();
    fs::create_dir(directory.join(".apt"))?;
    fs::write(directory.join(KEY), vendor.gpg(&["--armor", "--export"])?)?;
    let description = format!(
        "version = 1\n\n[debian.sources.vendor]\nurl = \"{}\"\nsuite = \"./\"\nkey = \"{KEY}\"\n\n\
         [images.motd]\nbinaries = [\"motd\"]\npackages = [\"vendor-motd\"]\n",
        vendor.address
    );
    fs::write(directory.join("images.toml"), description)?;
    lock(directory)?;
    fetch_set(directory)?;

    let asked = vendor.asked();
    let image = nix::build(&attribute(directory, "images.motd"))?;
    ensure!(vendor.asked() == asked, "the build asked the vendor");
    let said = run(&image, &[], "")?;
    ensure!(said == "the first text\n", "the image says {said:?}");
    let sbom = fs::read_to_string(image.join("attestations/linux-amd64/sbom.spdx.json"))?;
    let purl = "pkg:deb/vendor/vendor-motd@1.0~rc1?arch=amd64&repository_url=http%3A%2F%2F127";
    ensure!(sbom.contains(purl), "no {purl} in {sbom}");
    let lock_text = fs::read_to_string(directory.join("debian.lock"))?;
    let pinned = lock_text
        .lines()
        .find(|line| line.contains("vendor-motd:amd64\": {"));
    let pinned = pinned.context("the package is not in the lock")?;
    ensure!(pinned.contains("\"archive\": \"vendor\""), "{pinned}");

    fs::write(directory.join(KEY), "another key")?;
    let again = nix::build(&attribute(directory, "images.motd"))?;
    ensure!(again == image, "the key is an input of {}", again.display());
    let said = duct::cmd!(assemble(), "lock", "--without-toolchain")
        .dir(directory)
        .unchecked()
        .stderr_capture()
        .run()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.contains("holds no public key"), "lock says {said}");

    fs::write(directory.join(KEY), vendor.gpg(&["--armor", "--export"])?)?;
    vendor.publish("1.0", "the second text\n")?;
    lock(directory)?;
    let image = nix::build(&attribute(directory, "images.motd"))?;
    let said = run(&image, &[], "")?;
    ensure!(said == "the second text\n", "the image says {said:?}");
    Ok(())
}
