//! A machine before Crateyard is installed: an empty `/nix`, an empty home.

use anyhow::{Context, Result, ensure};
use crateyard_nix::{Store, nar};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Keeps namespaces in which `$1` is `/nix` and `$2` lists the users.
const BEGIN: &str = r#"mount --bind "$1" /nix && mount --bind "$2" /etc/passwd && echo ready &&
exec sleep infinity"#;
/// Runs the line `$2` in the directory `$1`, with errors in the output.
const TYPE: &str = r#"cd "$1" && exec sh -c "$2" 2>&1"#;

/// The numbers of Nix's build users start here, far from those of Debian.
const BUILD_USERS: u32 = 58_720;

/// The engine of the recording. It has its own storage and the machine's network.
const CONTAINERS: &str = r#"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
netns = "host"
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"#;

/// The machine's own directories, which its processes see in place of the real ones.
///
/// The processes have their own process namespace, and Nix's build users have other numbers. Around
/// each build, Nix kills all processes of the build user by number, and the real machine's Nix may
/// build at the same time.
pub struct Machine {
    place: TempDir,
    /// The process that keeps the namespaces, and its parent. All end with it.
    keeper: Option<(Child, u32)>,
}

impl Machine {
    /// Makes an empty machine on which `assemble` is installed.
    pub fn new(assemble: &Path) -> Result<Self> {
        let mut machine = Self {
            place: tempfile::Builder::new()
                .prefix("crateyard-first-")
                .tempdir()?,
            keeper: None,
        };
        for name in ["nix", "home", "bin", "tmp"] {
            fs::create_dir(machine.path(name))?;
        }
        fs::copy(assemble, machine.path("bin/assemble"))?;
        fs::write(machine.path("containers.conf"), CONTAINERS)?;
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
            machine.place.path().display()
        );
        fs::write(machine.path("storage.conf"), storage)?;
        fs::write(machine.path("passwd"), users()?)?;
        machine.keeper = Some(keep(&machine.path("nix"), &machine.path("passwd"))?);
        Ok(machine)
    }

    /// Puts the bootstrap programs in a directory where `assemble` keeps those that it has built.
    ///
    /// # Errors
    /// When the programs can't be read or written.
    #[allow(dead_code, reason = "the command line of a recording brings its own")]
    pub fn keep(&self, programs: &Path) -> Result<()> {
        let kept = self.path("home/.cache/crateyard/bootstrap");
        fs::create_dir_all(&kept)?;
        for entry in fs::read_dir(programs)? {
            let program = entry?;
            let name = format!("bootstrap-{}", program.file_name().to_string_lossy());
            let bytes = fs::read(program.path())?;
            let hash = nar::hash_of_executable(&bytes).base16();
            let path = Store::default().path_of_tree(&name, &hash);
            let base = path.rsplit('/').next().context("a path has a last part")?;
            fs::write(kept.join(base), bytes)?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Returns the new package.
    pub fn workspace(&self) -> PathBuf {
        self.path("home/hello")
    }

    /// Runs a line in the package's directory, or in the home directory before there is one.
    pub fn shell(&self, line: &str) -> Result<Output> {
        let workspace = self.workspace();
        let directory = if workspace.exists() {
            workspace
        } else {
            self.path("home")
        };
        let (_, process) = self.keeper.as_ref().context("the machine is off")?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &process.to_string(), "--mount", "--pid"])
            .args(["sh", "-c", TYPE, "sh"])
            .arg(&directory)
            .arg(line)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", self.search_path()?)
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"));
        // The toolchain that rustup installed is the only thing that was downloaded before.
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup"));
        if let Some(toolchains) = std::env::var_os("RUSTUP_HOME").or(home.map(Into::into)) {
            command.env("RUSTUP_HOME", toolchains);
        }
        command
            .output()
            .with_context(|| format!("cannot run `{line}`"))
    }

    fn search_path(&self) -> Result<std::ffi::OsString> {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.path("bin")).chain(std::env::split_paths(&own));
        Ok(std::env::join_paths(all)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // There may be no container, and a failed recording has its own error.
        let _ = self.shell("podman rm --force --all");
        if let Some((mut keeper, _)) = self.keeper.take() {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}

/// Returns the real machine's users, with other numbers for Nix's build users.
fn users() -> Result<String> {
    let users = fs::read_to_string("/etc/passwd").context("there are no users")?;
    let users = users.lines().zip(BUILD_USERS..).map(|(user, number)| {
        let number = number.to_string();
        let mut fields: Vec<&str> = user.split(':').collect();
        if user.starts_with("nixbld") && fields.len() > 2 {
            fields[2] = &number;
        }
        fields.join(":") + "\n"
    });
    Ok(users.collect())
}

/// Starts a process that keeps namespaces, and returns its parent and its number.
fn keep(nix: &Path, users: &Path) -> Result<(Child, u32)> {
    let mut keeper = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc", "--propagation", "private"])
        .args(["sh", "-c", BEGIN, "sh"])
        .args([nix, users])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start setpriv")?;
    let mut line = String::new();
    let output = keeper.stdout.take().context("it has an output")?;
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line == "ready\n", "this machine permits no namespaces");
    let parent = keeper.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let process = children.trim().parse().context("unshare has no child")?;
    Ok((keeper, process))
}
