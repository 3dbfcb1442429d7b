//! Remote builders: two hosts, each with its own network and its own store, and real ssh between
//! them.

use super::parts::{Main, Runner, Running};
use crate::checkout::Checkout;
use crate::nix;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PORT: u16 = 22;

/// The start of each namespace's name. The process that made it follows.
const NAMESPACES: &str = "crateyard-";

/// The addresses of the client's end and of the builder's end of the cable between them. Each
/// process has its own pair out of the range that RFC 2544 reserves for tests.
struct Cable {
    client: Ipv4Addr,
    builder: Ipv4Addr,
}

impl Cable {
    fn of(process: u32) -> Self {
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) | (process & 0x7fff) << 2;
        Self {
            client: Ipv4Addr::from(network | 1),
            builder: Ipv4Addr::from(network | 2),
        }
    }
}

/// A host behind a cable: a network namespace with sshd, and a store of its own.
struct Host {
    namespace: String,
    cable: Cable,
    directory: PathBuf,
    _server: Option<Running>,
}

impl Host {
    /// Starts a builder. It takes paths from main's cache if it can, so that the client need not
    /// send them.
    fn start(directory: &Path, main: &Main) -> Result<Self> {
        fs::create_dir_all(directory)?;
        remove_abandoned()?;
        let process = std::process::id();
        let mut host = Self {
            namespace: format!("{NAMESPACES}{process}"),
            cable: Cable::of(process),
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
        let address = host.cable.builder;
        fs::write(
            directory.join("sshd_config"),
            format!(
                "ListenAddress {address}\nPort {PORT}\nHostKey {here}/host\nAuthorizedKeysFile \
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
        let log = directory.join("sshd.log");
        command
            .arg(directory.join("sshd_config"))
            .stderr(fs::File::create(&log)?);
        host._server = Some(Running::start(&mut command)?);
        let begin = Instant::now();
        while TcpStream::connect((address, PORT)).is_err() {
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "sshd does not answer at {address}; it said:\n{}",
                fs::read_to_string(&log)?
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(host)
    }

    fn connect(&self) -> Result<()> {
        let name = &self.namespace;
        let (near, far) = (interface("c"), interface("b"));
        let Cable { client, builder } = &self.cable;
        let commands = [
            format!("netns add {name}"),
            format!("link add {near} type veth peer name {far} netns {name}"),
            format!("addr add {client}/30 dev {near}"),
            format!("link set {near} up"),
            format!("-n {name} addr add {builder}/30 dev {far}"),
            format!("-n {name} link set {far} up"),
        ];
        for command in commands {
            duct::cmd("ip", command.split(' '))
                .run()
                .with_context(|| format!("ip {command}"))?;
        }
        Ok(())
    }

    /// Returns the builder as `--builders` names it, with two jobs at once.
    fn builder(&self) -> String {
        let here = self.directory.display();
        let address = self.cable.builder;
        format!("ssh://root@{address}?remote-store={here}/store x86_64-linux {here}/client 2 1")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self._server = None;
        delete(&self.namespace);
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(&self.directory)
            .status();
    }
}

fn interface(end: &str) -> String {
    format!("cy{end}{}", std::process::id())
}

/// Deletes the namespaces of test runs that were killed. Their servers run on in them.
fn remove_abandoned() -> Result<()> {
    let list = duct::cmd!("ip", "netns", "list").read()?;
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let process = name.strip_prefix(NAMESPACES);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let servers = duct::cmd!("ip", "netns", "pids", name).read()?;
            for server in servers.lines() {
                duct::cmd!("kill", server).unchecked().run()?;
            }
            delete(name);
        }
    }
    Ok(())
}

/// Deletes a namespace. Its cable vanishes with it.
fn delete(namespace: &str) {
    let _ = Command::new("ip")
        .args(["netns", "del", namespace])
        .status();
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
