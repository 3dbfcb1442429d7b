//! Remote builders: two hosts, each with its own network and its own store, and real ssh between
//! them.

use super::parts::{Main, Runner, Running};
use crate::checkout::Checkout;
use crate::nix;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The client's end and the builder's end of the cable between them.
const CLIENT: &str = "10.231.77.1";
const BUILDER: &str = "10.231.77.2";
const PORT: u16 = 22;

/// A host behind a cable: a network namespace with sshd, and a store of its own.
struct Host {
    namespace: String,
    directory: PathBuf,
    _server: Option<Running>,
}

impl Host {
    /// Starts a builder. It takes paths from main's cache if it can, so that the client need not
    /// send them.
    fn start(directory: &Path, main: &Main) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let mut host = Self {
            namespace: format!("crateyard-{}", std::process::id()),
            directory: directory.to_owned(),
            _server: None,
        };
        host.connect()?;
        for key in ["host", "client"] {
            let file = directory.join(key);
            duct::cmd!("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).run()?;
        }
        fs::copy(directory.join("client.pub"), directory.join("authorized"))?;
        let nix = format!(
            "{}substituters = file://{}\ntrusted-public-keys = {}\n",
            nix::SETTINGS.replace("substituters =\n", ""),
            main.directory.display(),
            main.key.public
        );
        fs::write(directory.join("nix.conf"), nix)?;
        let here = directory.display();
        fs::write(
            directory.join("sshd_config"),
            format!(
                "ListenAddress {BUILDER}\nPort {PORT}\nHostKey {here}/host\nAuthorizedKeysFile \
                 {here}/authorized\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin \
                 prohibit-password\nSetEnv NIX_USER_CONF_FILES={here}/nix.conf\n"
            ),
        )?;
        fs::create_dir_all("/run/sshd")?;
        let sshd = which::which("sshd")?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &host.namespace])
            .arg(sshd)
            .args(["-D", "-e", "-f"]);
        command
            .arg(directory.join("sshd_config"))
            .stderr(Stdio::null());
        host._server = Some(Running::start(&mut command)?);
        let begin = Instant::now();
        while TcpStream::connect((BUILDER, PORT)).is_err() {
            ensure!(
                begin.elapsed() < Duration::from_secs(20),
                "sshd does not answer"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(host)
    }

    fn connect(&self) -> Result<()> {
        let name = &self.namespace;
        let (near, far) = (self.cable("c"), self.cable("b"));
        let commands = [
            format!("netns add {name}"),
            format!("link add {near} type veth peer name {far} netns {name}"),
            format!("addr add {CLIENT}/30 dev {near}"),
            format!("link set {near} up"),
            format!("-n {name} addr add {BUILDER}/30 dev {far}"),
            format!("-n {name} link set {far} up"),
        ];
        for command in commands {
            duct::cmd("ip", command.split(' '))
                .run()
                .with_context(|| format!("ip {command}"))?;
        }
        Ok(())
    }

    fn cable(&self, end: &str) -> String {
        format!("cy{end}{}", std::process::id())
    }

    /// Returns the builder as `--builders` names it, with two jobs at once.
    fn builder(&self) -> String {
        let here = self.directory.display();
        format!("ssh://root@{BUILDER}?remote-store={here}/store x86_64-linux {here}/client 2 1")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self._server = None;
        // The cable vanishes with the namespace.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.namespace])
            .status();
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(&self.directory)
            .status();
    }
}

pub fn over_ssh() -> Result<()> {
    let main = Main::pushed()?;
    let client = Runner::new()?;
    let host = Host::start(&client.path("builder"), main)?;
    let checkout = Checkout::new()?;
    checkout.append("services/supervisor/src/main.rs", "\n// built elsewhere\n")?;
    let store = client.store().display().to_string();
    let workspace = checkout.path().display().to_string();
    let mut arguments = vec![
        "build",
        "supervisor",
        "--json",
        "--store",
        &store,
        "--workspace",
        &workspace,
    ];
    let caches = main.from(&main.address());
    arguments.extend(caches.iter().map(String::as_str));
    let builder = host.builder();
    // Nothing may be built here.
    arguments.extend(["--", "--max-jobs", "0", "--builders", &builder, "-L"]);
    let known_hosts = client.path("known_hosts");
    let output = client
        .command(&arguments)
        .env(
            "NIX_CONFIG",
            "warn-dirty = false\nbuilders-use-substitutes = true\n",
        )
        .env(
            "NIX_SSHOPTS",
            format!(
                "-o StrictHostKeyChecking=no -o UserKnownHostsFile={}",
                known_hosts.display()
            ),
        )
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the build failed:\n{said}");
    let built: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("building '"))
        .collect();
    let elsewhere = built
        .iter()
        .filter(|line| line.contains("' on 'ssh://"))
        .count();
    ensure!(
        elsewhere > 0 && elsewhere == built.len(),
        "{elsewhere} of {} derivations were built on the other host:\n{built:?}",
        built.len()
    );
    let unit = built.iter().any(|line| line.contains("-supervisor-0"));
    ensure!(unit, "no unit was built: {built:?}");
    println!("builders: {elsewhere} derivations built on the other host");
    Ok(())
}
