//! The Docker engine: runs `docker buildx bake` on the targets of Dockerfile.images, and turns its
//! output into layouts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use crateyard_description::normal::{Description, Image};
use crateyard_dockerfile::Resolved;
use crateyard_spec::CA_BUNDLE;

use self::progress::Said;
use super::images::Images;
use super::kept::Kept;
use super::packages::Packages;
use super::{Built, Engine, Request, parents};
use crate::cargo::this_platform;

mod context;
mod progress;

/// The use of the engine's output and of its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Shows the output.
    Shown,
    /// Parses the output for compiled packages, and shows it only if the build fails.
    Read,
    /// Like `Read`, and also writes the caches of all targets to the directory.
    Write(&'a Path),
    /// Like `Read`, but builds with another engine, named as in `DOCKER_HOST`, which uses the
    /// caches in the directory.
    Fresh {
        /// The directory of the caches.
        cache: &'a Path,
        /// The engine.
        engine: &'a str,
    },
}

/// Builds images.
///
/// # Errors
/// When the workspace or its description is wrong, the generated files are out of date, or the
/// engine fails.
pub fn build(request: &Request<'_>, output: Output<'_>) -> Result<Built> {
    check_buildx()?;
    let (workspace, resolved) = request.resolve()?;
    crateyard_dockerfile::buildable(&resolved.description)?;
    check_drift(&workspace, &resolved)?;
    let kept = Kept::of(&workspace)?;
    make_parents(request, &workspace, &resolved, &kept)?;
    let destination = tempfile::Builder::new()
        .prefix(".buildx-")
        .tempdir_in(kept.directory("images")?)?;
    let bundle = kept.directory("bundle")?;
    let context = clean_context(&workspace, &kept)?;
    let bake = Bake {
        workspace: &workspace,
        vendor: request.vendor,
        context: context.as_deref(),
        destination: destination.path(),
        bundle: &bundle,
        output,
    };
    let mut said = bake.targets(&archives(&resolved.description, request.images))?;
    said.extend(bake.targets(request.images)?);
    let paths = request.images.iter().map(|name| {
        let image = &resolved.description.images[name];
        let from = destination.path().join(name);
        let path = kept
            .image(name, |out| {
                Ok(crateyard_image::import::make(
                    &from,
                    &image.references,
                    out,
                )?)
            })
            .with_context(|| format!("buildx has written no sound image {name:?}"))?;
        kept.link(Engine::Buildx, name, &path)?;
        Ok(path)
    });
    Ok(Built {
        paths: paths.collect::<Result<_>>()?,
        compiled: said.iter().flat_map(Said::compiled).collect(),
        fetched: progress::fetched(&said),
    })
}

/// Checks that docker and buildx are installed and that an engine answers.
///
/// # Errors
/// When docker or buildx is not installed, or no engine answers.
pub fn check_buildx() -> Result<()> {
    for (arguments, remedy) in [
        (
            &["buildx", "version"][..],
            "install docker's command line and its plugin buildx (0.15 or newer)",
        ),
        (
            &["info", "--format", "{{.ServerVersion}}"],
            "start an engine, or name one by DOCKER_HOST",
        ),
    ] {
        let shown = format!("docker {}", arguments.join(" "));
        let ran = Command::new("docker").args(arguments).output();
        let said = match ran {
            Ok(output) if output.status.success() => continue,
            Ok(output) => last_line(&output.stderr),
            Err(error) => error.to_string(),
        };
        bail!("`{shown}` failed: {said}\n  try: {remedy}");
    }
    Ok(())
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.trim().lines().last().unwrap_or_default().to_owned()
}

fn check_drift(workspace: &Path, resolved: &Resolved) -> Result<()> {
    let files =
        crateyard_dockerfile::generate(&resolved.description, &resolved.project, &resolved.sources);
    for (name, text) in files {
        if fs::read_to_string(workspace.join(name)).ok() != Some(text) {
            bail!(
                "{name} is not what images.toml says now\n  try: assemble dockerfile --workspace \
                 {}",
                workspace.display()
            );
        }
    }
    Ok(())
}

/// Makes the contexts that images start from, unless the environment sets others.
fn make_parents(
    request: &Request<'_>,
    workspace: &Path,
    resolved: &Resolved,
    kept: &Kept,
) -> Result<()> {
    let is_named = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let description = &resolved.description;
    let asked = request.images.iter();
    let asked = asked.filter_map(|name| description.images.get(name));
    let held = asked.clone().flat_map(|image| &image.images);
    let held = held.filter_map(|name| description.images.get(name));
    let own: BTreeMap<String, &Image> = asked
        .chain(held)
        .filter_map(|image| {
            Some((
                crateyard_dockerfile::own_base(image, &resolved.project)?,
                image,
            ))
        })
        .collect();
    let (toolchain, base) = (is_named("TOOLCHAIN"), is_named("BASE"));
    if (toolchain && base && own.is_empty()) || is_named("LAYOUTS") {
        return Ok(());
    }
    let platform = this_platform()?;
    let images = Images {
        root: workspace,
        description,
        packages: Packages::locked(&request.debian_lock(workspace), platform.debian())?,
        platform,
        project: &resolved.project,
        binaries: BTreeMap::new(),
        unhermetic: "",
        kept,
        made: BTreeMap::new(),
    };
    let (packages, platform) = (&images.packages, &images.platform);
    if !toolchain {
        let image = parents::builder(kept, packages, &description.toolchain.set, platform)?;
        kept.link_layout("builder-image", &image)?;
    }
    if !base && description.debian.sets.contains_key("base") {
        let image = parents::base(kept, packages, "base", platform)?;
        kept.link_layout("base-image", &image)?;
    }
    for (context, image) in own {
        kept.link_layout(&context, &images.make_base(image)?)?;
    }
    Ok(())
}

/// Makes a directory with the files that git knows. Returns `None` if the environment sets the
/// context, or git does not know the workspace.
fn clean_context(workspace: &Path, kept: &Kept) -> Result<Option<PathBuf>> {
    if std::env::var_os("CONTEXT").is_some() {
        return Ok(None);
    }
    let directory = kept.directory("context")?;
    Ok(context::update(workspace, &directory)?.then_some(directory))
}

/// Returns the targets that write the archives of images that other images hold.
fn archives(description: &Description, images: &[String]) -> Vec<String> {
    let held: BTreeSet<&String> = images
        .iter()
        .filter_map(|name| description.images.get(name))
        .flat_map(|image| &image.images)
        .collect();
    held.into_iter()
        .map(|image| crateyard_dockerfile::archive_target(description, image))
        .collect()
}

/// Builds one stage, only to fill the engine's cache.
///
/// # Errors
/// The errors of [`build`].
pub fn prepare(request: &Request<'_>, stage: &str) -> Result<()> {
    let (workspace, resolved) = request.resolve()?;
    let kept = Kept::of(&workspace)?;
    make_parents(request, &workspace, &resolved, &kept)?;
    let bundle = kept.directory("bundle")?;
    let context = clean_context(&workspace, &kept)?;
    let bake = Bake {
        workspace: &workspace,
        vendor: request.vendor,
        context: context.as_deref(),
        destination: &bundle,
        bundle: &bundle,
        output: Output::Read,
    };
    bake.run(&[
        "builder".to_owned(),
        format!("--set=builder.target={stage}"),
    ])
    .map(drop)
}

/// Fails if the engine, named as in `DOCKER_HOST`, keeps any results of a build.
///
/// # Errors
/// When the engine keeps some, or does not answer.
pub fn check_fresh(engine: &str) -> Result<()> {
    let mut command = Command::new("docker");
    use_engine(&mut command, engine);
    let output = command.args(["buildx", "du"]).output();
    let output = output.context("cannot start docker")?;
    if !output.status.success() {
        let said = last_line(&output.stderr);
        bail!("the engine {engine} does not answer: {said}");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let total = said.lines().find_map(|line| line.strip_prefix("Total:"));
    match total.map(str::trim) {
        Some("0B") | None => Ok(()),
        Some(size) => bail!("the engine {engine} is not fresh: its build cache has {size}"),
    }
}

/// Makes a command talk to this engine, regardless of the environment.
fn use_engine(command: &mut Command, engine: &str) {
    command
        .env("DOCKER_HOST", engine)
        .env_remove("DOCKER_CONTEXT")
        .env_remove("BUILDX_BUILDER");
}

/// The settings of a call of bake.
struct Bake<'a> {
    workspace: &'a Path,
    vendor: Option<&'a Path>,
    /// The context to build from, if it is not the workspace.
    context: Option<&'a Path>,
    destination: &'a Path,
    bundle: &'a Path,
    output: Output<'a>,
}

impl Bake<'_> {
    /// Passes the settings of the caches for this output to bake.
    fn use_cache(&self, command: &mut Command) {
        let directory = match self.output {
            Output::Shown | Output::Read => return,
            Output::Write(directory) => directory,
            Output::Fresh { cache, engine } => {
                command.arg("--set=*.cache-to=");
                use_engine(command, engine);
                cache
            }
        };
        command.env("CACHE", "local").env("CACHE_AT", directory);
    }

    /// Whether the build uses caches outside the engine.
    fn has_cache(&self) -> bool {
        match self.output {
            Output::Shown | Output::Read => {
                std::env::var_os("CACHE").is_some_and(|kind| !kind.is_empty())
            }
            Output::Write(_) | Output::Fresh { .. } => true,
        }
    }

    /// Builds targets all at once, or one after another if there are caches outside the engine.
    /// With such caches, targets that share stages and are built at once miss some entries, and
    /// compile again the crates that each of them finds alone
    /// (<https://github.com/docker/buildx/issues/3878>).
    fn targets(&self, targets: &[String]) -> Result<Vec<Said>> {
        let at_once = match self.has_cache() {
            true => 1,
            false => targets.len().max(1),
        };
        targets.chunks(at_once).map(|some| self.run(some)).collect()
    }

    /// Builds targets at once, and returns the output if it is parsed.
    fn run(&self, targets: &[String]) -> Result<Said> {
        let mut command = Command::new("docker");
        command
            .args(["buildx", "bake", "--file", crateyard_dockerfile::BAKE])
            .args(targets)
            .current_dir(self.workspace)
            .env("OUTPUT", "layout")
            .env("DESTINATION", self.destination)
            .env("BUNDLE", self.bundle)
            // The build reads and writes only in the workspace, and the user asked for it.
            .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
            .stdin(Stdio::null());
        if let Some(context) = self.context {
            command.env("CONTEXT", context);
        }
        if let Some(vendor) = self.vendor {
            command.env("VENDOR", vendor);
        }
        // The machine's certificates, for the stage that downloads: the builder image has none.
        if std::env::var_os("CA").is_none() && Path::new(CA_BUNDLE).is_file() {
            command.env("CA", CA_BUNDLE);
        }
        match self.output {
            Output::Shown => {
                let status = command.status().context("cannot start docker")?;
                if !status.success() {
                    bail!("`docker buildx bake` failed: {status}; it says why above");
                }
                Ok(Said::default())
            }
            _ => {
                self.use_cache(&mut command);
                let output = command
                    .arg("--progress=rawjson")
                    .output()
                    .context("cannot start docker")?;
                let said = progress::read(&output.stderr);
                if !output.status.success() {
                    bail!(
                        "`docker buildx bake` failed: {}\n{}",
                        output.status,
                        said.log
                    );
                }
                Ok(said)
            }
        }
    }
}
