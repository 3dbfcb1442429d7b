//! `assemble deploy`: updates clusters and hosts to the workspace's images, and touches nothing
//! else.

mod hosts;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_deploy::cluster::Change;
use crateyard_deploy::quadlet;
use crateyard_terminal::{note, print, print_json};
use said::Said;

use crate::rollout::compose;
use crate::rollout::files::{self, Source};
use crate::rollout::kubectl::{ClusterArgs, Kubectl};
use crate::rollout::kubernetes;
use crate::rollout::quadlet::QuadletUnit;
use crate::rollout::reasons;
use crate::rollout::settings::{Settings, ShipArgs};
use crate::rollout::ship::{self, Shipped};
use crate::rollout::watch::Watch;

const EXAMPLES: &str = "\
Examples:
  assemble deploy -f deploy/manifests --to registry.example/team/ --dry-run
  assemble deploy                              as deploy.toml says
  assemble deploy --watch                      and again after each edit
  assemble deploy --rollback                   back to before the last deployment
  assemble deploy --recreate-jobs              deletes and recreates changed, finished jobs
  helm template app ./chart | assemble deploy -f -
  assemble deploy -f compose.yaml              containers of this machine
  assemble deploy -f app.container             Quadlet units of this machine";

/// Build, push, and roll out what changed, and nothing else
///
/// Manifests name images as crateyard://IMAGE. The command compares the objects of a cluster with
/// those that the manifests describe. It applies the ones that differ by server-side apply, through
/// kubectl with the user's own kubeconfig, and waits for their rollout.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory for Quadlet units [default: the one where podman reads this user's units]
    #[arg(long, value_name = "DIR")]
    units: Option<PathBuf>,

    /// Only show what would be done: push nothing, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Restore what ran before the last deployment of these manifests
    #[arg(long, conflicts_with = "watch")]
    rollback: bool,

    /// Deploy again after each edit, until interrupted
    #[arg(long, short)]
    watch: bool,

    /// Delete a finished job whose template would change, with its pods, and create it again; JSON
    /// has `"change": "recreated"` for it
    #[arg(long)]
    recreate_jobs: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    ship: ShipArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the command.
///
/// # Errors
/// When something can't be read, built, pushed or applied, or does not start.
pub fn run(mut args: Args) -> Result<()> {
    let settings = Settings::of(&args.ship)?;
    if args.watch {
        return watch(args);
    }
    args.cluster.complete(&settings.config);
    match args.rollback {
        true => rollback(&args, &settings),
        false => once(&args, &settings).map(drop),
    }
}

/// Deploys after each edit, of deploy.toml and images.toml, too. A failed build or a refusal does
/// not stop the loop.
fn watch(mut args: Args) -> Result<()> {
    let cluster = args.cluster.clone();
    let mut files = Vec::new();
    loop {
        let mut watch = Watch::new(&args.ship.workspace, &files)?;
        let read = Settings::of(&args.ship).and_then(|settings| {
            args.cluster = cluster.clone();
            args.cluster.complete(&settings.config);
            once(&args, &settings)
        });
        match read {
            Ok(read) => files = read,
            Err(error) => crateyard_build::failure::say(&error),
        }
        crateyard_terminal::say("watching", "for edits");
        watch.wait()?;
    }
}

/// The texts of a run by target, with pushed references.
#[derive(Default)]
struct Texts {
    manifests: Vec<String>,
    compose: Vec<(PathBuf, String)>,
    units: Vec<QuadletUnit>,
}

impl Texts {
    /// Adds a unit, or a file that belongs to one, under its path below the directory of units.
    fn add_unit(&mut self, source: &Path, name: &Path, text: String) -> Result<()> {
        if let Some(other) = self.units.iter().find(|unit| unit.name == name) {
            bail!(
                "{} and {} have one name, and only one of them can be installed",
                other.source.display(),
                source.display()
            );
        }
        self.units.push(QuadletUnit {
            source: source.to_owned(),
            name: name.to_owned(),
            text,
        });
        Ok(())
    }
}

/// Does one run, and returns the files that it read.
fn once(args: &Args, settings: &Settings) -> Result<Vec<PathBuf>> {
    let sources = files::read(&settings.files, &settings.names)?;
    sources.iter().try_for_each(refuse_others)?;
    let images: BTreeSet<String> = sources
        .iter()
        .flat_map(Source::uses)
        .map(|one| one.image)
        .collect();
    let shipped = ship::ship(&args.ship, settings, &images, args.dry_run)?;
    let references = ship::references(&shipped);
    let texts = sort(&sources, |source| {
        let resolved = source.manifest.resolve(&references);
        Ok(resolved.with_context(|| source.title())?.0)
    })?;
    roll_out(args, &shipped, &texts)?;
    Ok(sources
        .into_iter()
        .filter_map(|source| source.path)
        .collect())
}

/// Refuses files that no cluster accepts as they are.
fn refuse_others(source: &Source) -> Result<()> {
    let name = source
        .below
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let title = source.title();
    if name == "Chart.yaml" || name.starts_with("values.") {
        bail!(
            "{title} belongs to a Helm chart\n  \
             try: helm template NAME CHART | assemble deploy -f -, or let Helm roll it out: \
             assemble resolve -f values.yaml | helm upgrade --install NAME CHART -f -"
        );
    }
    if name.starts_with("kustomization.") {
        bail!("{title} is for kustomize\n  try: kubectl kustomize DIR | assemble deploy -f -");
    }
    Ok(())
}

fn sort(sources: &[Source], resolve: impl Fn(&Source) -> Result<String>) -> Result<Texts> {
    let mut texts = Texts::default();
    let units: Vec<&Source> = sources.iter().filter(|source| source.is_unit()).collect();
    for source in sources {
        let text = resolve(source)?;
        let name = source
            .below
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        match &source.path {
            Some(path) if compose::is_compose(&name) => texts.compose.push((path.clone(), text)),
            Some(path) if source.is_unit() || is_read_by(&units, path) => {
                let name = source
                    .beside_units()
                    .map_or(path.as_path(), |(_, name)| name);
                texts.add_unit(path, name, text)?;
            }
            _ => texts.manifests.push(text),
        }
    }
    Ok(texts)
}

/// Whether one of the units in a file's directory reads it, so that it belongs beside the unit and
/// not to a cluster.
fn is_read_by(units: &[&Source], file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = |unit: &&&Source| {
        let directory = unit.beside_units().map(|(directory, _)| directory);
        directory.is_some_and(|directory| Some(directory) == file.parent())
    };
    let mut beside = units.iter().filter(beside);
    beside.any(|unit| quadlet::reads(&unit.text, &name))
}

fn roll_out(args: &Args, shipped: &BTreeMap<String, Shipped>, texts: &Texts) -> Result<()> {
    let kubectl = Kubectl::new(&args.cluster);
    let steps = match texts.manifests.is_empty() {
        true => Vec::new(),
        false => kubernetes::compare(&kubectl, &texts.manifests, args.recreate_jobs)?,
    };
    let mut said = Said::new(args.dry_run, shipped);
    said.add_steps(&steps, |image, running| {
        reasons::why(&args.ship, image, &shipped[image].path, running)
    });
    if !args.dry_run {
        kubernetes::apply(&kubectl, &steps)?;
    }
    // Print the output before the wait, because people need it to look into a hanging rollout.
    if !args.json {
        print(&said.describe())?;
    }
    let hosts = hosts::deploy(args, texts, texts)?;
    if !args.dry_run {
        if !args.cluster.no_wait {
            kubernetes::wait(&kubectl, &args.cluster, &steps)?;
        }
        for (image, one) in shipped {
            if let Err(error) =
                reasons::remember(&args.ship, image, &one.path, one.pushed.digest.hex())
            {
                note!("the inputs of {image} are not saved: {error:#}");
            }
        }
    }
    match args.json {
        true => print_json(&said.with_hosts(hosts)),
        false => print(&said::describe_hosts(&hosts)),
    }
}

/// Restores the state before the last deployment. Builds and pushes nothing, because the objects
/// record their earlier state.
fn rollback(args: &Args, settings: &Settings) -> Result<()> {
    let sources = files::read(&settings.files, &settings.names)?;
    // The names of objects come from the manifests. The images are the earlier ones.
    let texts = sort(&sources, |source| Ok(source.text.clone()))?;
    let nothing = BTreeMap::new();
    let mut said = Said::new(args.dry_run, &nothing);
    let mut staying = String::new();
    let kubectl = Kubectl::new(&args.cluster);
    let back = match texts.manifests.is_empty() {
        true => None,
        false => kubernetes::back(&kubectl, &texts.manifests, args.recreate_jobs)?,
    };
    let before = hosts::before(args, &texts)?;
    expect_any(&texts, back.is_some(), &before)?;
    if let Some(back) = back {
        said.add_steps(&back.steps, |_, _| Vec::new());
        staying = kubernetes::describe_staying(&back.staying);
        if !args.dry_run {
            kubernetes::apply(&kubectl, &back.steps)?;
            if !args.cluster.no_wait {
                kubernetes::wait(&kubectl, &args.cluster, &back.steps)?;
            }
        }
        if back.steps.iter().all(|step| step.change == Change::None) {
            note!("the cluster already runs what it ran before the last deployment");
        }
    }
    let hosts = hosts::deploy(args, &before, &texts)?;
    if args.json {
        return print_json(&said.with_hosts(hosts));
    }
    print(&(said.describe() + &staying + &said::describe_hosts(&hosts)))
}

/// Checks that there is an earlier state, on this machine or in the cluster.
fn expect_any(texts: &Texts, has_objects: bool, before: &Texts) -> Result<()> {
    let mut missing = Vec::new();
    if !texts.manifests.is_empty() && !has_objects {
        missing.push(
            "no object of these manifests was changed by `assemble deploy`, so there is nothing to \
             go back to",
        );
    }
    let files = |texts: &Texts| texts.compose.len() + texts.units.len();
    if files(texts) > 0 && files(before) == 0 {
        missing.push("nothing records what ran on this machine before the last deployment");
    }
    if !has_objects && files(before) == 0 && !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    missing.iter().for_each(|one| note!("{one}"));
    Ok(())
}
