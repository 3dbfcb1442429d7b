//! `assemble load`: streams an image into docker, podman or containerd, without a copy on disk.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use crateyard_image::archive::{self, ArchiveFormat, Selection};
use crateyard_oci::{ImageName, Layout, Platform};
use crateyard_terminal::{print, print_json};
use serde::Serialize;

use crate::image_argument::{Place, PlaceArgs};

const EXAMPLES: &str = "\
Examples:
  assemble load gateway
  assemble load image.tar --into podman --reference gateway:dev
  assemble load gateway --into containerd --namespace k8s.io";

/// Load an image into docker, podman or containerd
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image of images.toml by its name, a layout or archive by its path, or a registry's
    /// reference
    ///
    /// An image of images.toml is built first.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The engine [default: the first of docker, podman and containerd's ctr that is installed]
    #[arg(long, value_enum, value_name = "ENGINE")]
    into: Option<Engine>,

    /// containerd's namespace; Kubernetes uses k8s.io
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// containerd's socket, if it is not the usual one
    #[arg(long, value_name = "SOCKET")]
    address: Option<PathBuf>,

    /// A name for the image instead of its own; may be repeated
    #[arg(long = "reference", value_name = "NAME:TAG")]
    references: Vec<ImageName>,

    /// The platform to load, if the image has several [default: this machine's]
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,

    /// Print the loaded image as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// A program that keeps images on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Engine {
    Docker,
    Podman,
    Containerd,
}

impl Engine {
    const ALL: [Engine; 3] = [Engine::Docker, Engine::Podman, Engine::Containerd];

    fn program(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
            Engine::Containerd => "ctr",
        }
    }

    fn format(self) -> ArchiveFormat {
        match self {
            Engine::Docker | Engine::Podman => ArchiveFormat::Docker,
            Engine::Containerd => ArchiveFormat::Oci,
        }
    }

    /// Returns the requested engine, or the first one that is installed.
    fn find(wanted: Option<Engine>) -> Result<Engine> {
        let is_installed = |engine: &Engine| which::which(engine.program()).is_ok();
        match wanted {
            Some(engine) if is_installed(&engine) => Ok(engine),
            Some(engine) => bail!(
                "`{}` is not installed\n  try: another engine with --into, or `assemble save` and \
                 copy the archive to where it is",
                engine.program()
            ),
            None => Engine::ALL.into_iter().find(is_installed).context(
                "none of docker, podman and ctr is installed\n  try: `assemble save` and copy the \
                 archive to where one is",
            ),
        }
    }

    /// Returns the command that reads an archive from standard input.
    fn command(self, args: &Args) -> Command {
        let mut command = Command::new(self.program());
        if self != Engine::Containerd {
            command.arg("load");
            return command;
        }
        if let Some(address) = &args.address {
            command.arg("--address").arg(address);
        }
        command.args(["--namespace", &args.namespace, "images", "import", "-"]);
        command
    }
}

/// The command's JSON output.
#[derive(Serialize)]
struct Loaded {
    engine: Engine,
    digest: String,
    references: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When the image can't be found or read, or the engine is missing or refuses the image.
pub fn run(args: Args) -> Result<()> {
    let engine = Engine::find(args.into)?;
    let place = Place::find_current(&args.image, &args.place.workspace)?;
    let local = place.open_layout(&args.place.connection, args.platform.as_ref())?;
    let layout = &local.layout;
    let platform = match args.platform.clone() {
        None if has_several(layout)? => Some(Platform::of_machine()),
        given => given,
    };
    let image = layout.image(None, platform.as_ref())?;
    let references = match args.references.is_empty() {
        true => local.full_names()?,
        false => args.references.clone(),
    };
    let selection = Selection {
        format: engine.format(),
        references,
        platform,
        epoch: 0,
        // Engines do not keep documents.
        documents: false,
    };
    send(layout, &selection, engine.command(&args))?;
    let loaded = Loaded {
        engine,
        digest: image.descriptor.digest.to_string(),
        references: selection
            .references
            .iter()
            .map(ImageName::familiar)
            .collect(),
    };
    if args.json {
        return print_json(&loaded);
    }
    let names = match loaded.references.is_empty() {
        true => format!("{} (without a name; --reference gives one)", loaded.digest),
        false => loaded.references.join(", "),
    };
    print(&format!("loaded into {}: {names}\n", engine.program()))
}

fn has_several(layout: &Layout) -> Result<bool> {
    let images = layout.images()?;
    let images = images.iter().filter(|image| !image.is_attestation());
    Ok(images.count() > 1)
}

/// Writes the archive into the engine's standard input.
fn send(layout: &Layout, selection: &Selection, mut command: Command) -> Result<()> {
    let shown = shown(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut engine = command
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let written = write(layout, selection, &mut engine);
    if let Err(error) = &written {
        // An engine that closes the pipe has reported the reason. In any other case, the engine
        // must not accept an incomplete archive.
        if !is_broken_pipe(error) {
            engine.kill().ok();
            engine.wait().ok();
            return written;
        }
    }
    let status = engine
        .wait()
        .with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() {
        bail!(
            "`{shown}`: {status}\n  try: read its message above, check that the engine is running, \
             or choose another one with --into"
        );
    }
    written
}

fn write(layout: &Layout, selection: &Selection, engine: &mut Child) -> Result<()> {
    let input = engine.stdin.as_mut().context("the engine has no input")?;
    let mut out = BufWriter::with_capacity(1 << 20, input);
    let written = archive::write(layout, selection, &mut out)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(out.flush()?));
    // The buffered rest of a failed attempt must not be written.
    let (_, rest) = out.into_parts();
    drop(rest);
    written
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    match error.downcast_ref::<crateyard_image::Error>() {
        Some(crateyard_image::Error::Oci(crateyard_oci::Error::Io { source, .. })) => {
            is_broken(source)
        }
        _ => error
            .downcast_ref::<std::io::Error>()
            .is_some_and(is_broken),
    }
}

fn shown(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
