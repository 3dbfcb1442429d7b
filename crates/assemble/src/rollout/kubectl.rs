//! Runs the user's own `kubectl`. Contexts, client certificates, tokens and exec plugins of the
//! kubeconfig work as usual, and there is no second client to configure.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use crateyard_deploy::cluster::{Key, MANAGER, objects, place};
use crateyard_deploy::config::DeployConfig;
use crateyard_terminal::{clean_log, shortened};
use serde_json::Value;

/// The size limit for kubectl's output, in bytes.
const MAX_OUTPUT: u64 = 256 << 20;
/// The size limit for a message of kubectl in an error, in bytes.
const MAX_SAID: usize = 4 << 10;

/// The cluster, and the way to reach it.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cluster options")]
pub struct ClusterArgs {
    /// A context of the kubeconfig [default: `context` of deploy.toml, else the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// The namespace of objects that name none [default: `namespace` of deploy.toml, else the
    /// context's]
    #[arg(long, short = 'n', value_name = "NAME")]
    pub namespace: Option<String>,

    /// The kubeconfig [default: as kubectl finds it]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The program that talks to the cluster
    #[arg(long, value_name = "PROGRAM", default_value = "kubectl")]
    kubectl: String,

    /// Take over fields that another manager owns
    #[arg(long)]
    pub force_conflicts: bool,

    /// The time to wait for each rollout, and for the end of a deleted job, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub timeout: String,

    /// Do not wait for rollouts
    #[arg(long)]
    pub no_wait: bool,
}

impl ClusterArgs {
    /// Takes from deploy.toml what the command line leaves open.
    pub fn complete(&mut self, config: &DeployConfig) {
        let or = |own: &mut Option<String>, other: &Option<String>| {
            *own = own.take().or_else(|| other.clone());
        };
        or(&mut self.context, &config.context);
        or(&mut self.namespace, &config.namespace);
    }
}

/// `kubectl` with the options for its cluster.
pub struct Kubectl {
    program: String,
    options: Vec<OsString>,
    /// The namespace of objects that name none. kubectl does not get it as an option, because it
    /// would then refuse objects that name another namespace.
    namespace: Option<String>,
    force: bool,
    /// The time to wait for the end of a deleted object, as kubectl takes it.
    timeout: String,
}

impl Kubectl {
    /// Takes the options of a command line.
    pub fn new(args: &ClusterArgs) -> Kubectl {
        let mut options: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                options.extend([name.into(), value]);
            }
        };
        add("--kubeconfig", args.kubeconfig.clone().map(Into::into));
        add("--context", args.context.clone().map(Into::into));
        Kubectl {
            program: args.kubectl.clone(),
            options,
            namespace: args.namespace.clone(),
            force: args.force_conflicts,
            timeout: args.timeout.clone(),
        }
    }

    /// Parses manifests into objects, and sets the namespace of objects that name none. kubectl
    /// parses the YAML, as it does for the user.
    ///
    /// # Errors
    /// When kubectl does not know a kind, or the server can't be reached.
    pub fn read(&self, manifests: &str) -> Result<Vec<Value>> {
        let arguments = [
            "create",
            "--dry-run=client",
            "--validate=false",
            "-o",
            "json",
            "-f",
            "-",
        ];
        let mut objects = self.objects(&arguments, manifests)?;
        if let Some(namespace) = &self.namespace {
            let written = self.written(manifests)?;
            ensure!(
                place(&mut objects, &written, namespace),
                "kubectl reads the manifests in two ways, so it is unclear which objects name no \
                 namespace\n  try: a namespace in each object, and no --namespace"
            );
        }
        Ok(objects)
    }

    /// Parses manifests into objects exactly as they are written: without the context's namespace.
    fn written(&self, manifests: &str) -> Result<Vec<Value>> {
        // This removes an annotation that no object has. With `--local`, kubectl asks no server, so
        // it fills in nothing.
        let absent = "crateyard.dev/absent-";
        let arguments = ["annotate", "--local", "-o", "json", "-f", "-", absent];
        self.objects(&arguments, manifests)
    }

    /// Returns the objects as the cluster has them.
    ///
    /// # Errors
    /// When the cluster can't be queried.
    pub fn live(&self, list: &str) -> Result<Vec<Value>> {
        let arguments = ["get", "--ignore-not-found", "-o", "json", "-f", "-"];
        // Since version 1.21, kubectl prints managed fields only on request. Older versions do not
        // have the option.
        let asked = [&arguments[..], &["--show-managed-fields"]].concat();
        match self.objects(&asked, list) {
            Err(error) if says(&error, "unknown flag: ") => self.objects(&arguments, list),
            result => result,
        }
    }

    /// Returns the objects as the cluster would have them after they are applied.
    ///
    /// # Errors
    /// When the cluster refuses them.
    pub fn would(&self, list: &str) -> Result<Vec<Value>> {
        let arguments = self.apply_arguments(&["--dry-run=server", "-o", "json"]);
        self.objects(&arguments, list)
    }

    /// Applies objects by server-side apply.
    ///
    /// # Errors
    /// When the cluster refuses an object. The objects before it are already applied.
    pub fn apply(&self, list: &str) -> Result<()> {
        let arguments = self.apply_arguments(&["-o", "name"]);
        self.run(&arguments, list).map(drop)
    }

    /// Deletes an object with its pods, and waits until it is gone.
    ///
    /// # Errors
    /// When the cluster refuses, or takes too long.
    pub fn delete(&self, key: &Key) -> Result<()> {
        let namespace = format!("--namespace={}", key.namespace);
        let timeout = format!("--timeout={}", self.timeout);
        let resource = key.resource();
        let arguments = [
            "delete",
            &resource,
            &namespace,
            "--ignore-not-found",
            &timeout,
        ];
        self.run(&arguments, "").map(drop)
    }

    fn apply_arguments<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["apply", "--server-side", "--field-manager", MANAGER];
        if self.force {
            arguments.push("--force-conflicts");
        }
        arguments.extend(more);
        arguments.extend(["-f", "-"]);
        arguments
    }

    fn objects(&self, arguments: &[&str], input: &str) -> Result<Vec<Value>> {
        let text = self.run(arguments, input)?;
        objects(&text).with_context(|| format!("kubectl {} printed no objects", arguments[0]))
    }

    /// Runs kubectl, and returns its output.
    ///
    /// # Errors
    /// When kubectl is not installed or fails. In the second case, the error is [`Failed`].
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let words = arguments.iter().map(OsString::from);
        let command = duct::cmd(&self.program, words.chain(self.options.iter().cloned()))
            .stdin_bytes(input.as_bytes())
            .stderr_capture()
            .unchecked()
            .before_spawn(|command| {
                crateyard_nix::process::end_with_parent(command);
                Ok(())
            });
        let reader = command.reader().with_context(|| {
            format!(
                "cannot start {}\n  try: install kubectl (Debian: apt-get install \
                 kubernetes-client), or --kubectl PROGRAM",
                self.program
            )
        })?;
        let mut text = String::new();
        let mut limited = (&reader).take(MAX_OUTPUT + 1);
        limited
            .read_to_string(&mut text)
            .context("cannot read what kubectl prints")?;
        if text.len() as u64 > MAX_OUTPUT {
            reader.kill().ok();
            bail!(
                "kubectl {} prints more than {MAX_OUTPUT} bytes",
                arguments[0]
            );
        }
        let output = reader.try_wait()?.context("kubectl is still running")?;
        if output.status.success() {
            return Ok(text);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failed {
            command: arguments[0].to_owned(),
            said: clean_log(said.trim()).into_owned(),
        }
        .into())
    }
}

/// kubectl failed, or the cluster refused.
#[derive(Debug)]
pub struct Failed {
    /// The command of kubectl, such as `apply`.
    command: String,
    /// The whole message. A server writes its reason behind the value that it refuses, which may be
    /// long.
    said: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = shortened(&self.said, MAX_SAID);
        write!(formatter, "kubectl {} failed: {said}", self.command)
    }
}

impl std::error::Error for Failed {}

/// Whether kubectl failed with a message that contains a text.
fn says(error: &anyhow::Error, text: &str) -> bool {
    let failed = error.downcast_ref::<Failed>();
    failed.is_some_and(|failed| failed.said.contains(text))
}

/// Whether the server refuses to change a field of an object that exists.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/>
pub fn is_immutable(error: &anyhow::Error) -> bool {
    says(error, ": field is immutable")
}

/// Whether another manager owns a field that would change.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>
pub fn is_conflict(error: &anyhow::Error) -> bool {
    says(error, "Apply failed with ")
}
