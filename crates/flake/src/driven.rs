//! Builds attributes of a flake by driving Nix (crates/drive), or with `nix build` if the driver
//! doesn't support the arguments.

mod record;
mod settings;

use super::Nix;
use super::arguments::Arguments;
use super::config::NixConfig;
use super::evaluation::{Building, Evaluated, Evaluation, Files};
use super::interrupts::Interrupts;
use super::links;
use super::progress::Progress;
use super::tree::{self, Tree};
use anyhow::{Result, anyhow, bail};
use crateyard_drive::build_record::{self, BuildRecord, Image, Outcome, Span};
use crateyard_drive::driver::{self, Driver, Report};
use crateyard_drive::durations::{self, Durations};
use crateyard_drive::schedule::Order;
use crateyard_nix::Closure;
use crateyard_terminal::{note, without_passwords};
use crateyard_workspace::state::State;
use settings::settings;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use record::record;

/// The derivations that evaluation itself needs. Each one must be built before the next can be
/// evaluated (nix/lib.nix).
const STAGES: [&str; 3] = [
    "evaluation.tools",
    "evaluation.description",
    "evaluation.plan",
];

/// A build request.
pub struct Request<'a> {
    /// The way to call Nix.
    pub nix: &'a Nix,
    /// The flake.
    pub flake: &'a str,
    /// The attributes.
    pub attributes: &'a [String],
    /// The prefix of their names: empty, or a name and a dot.
    pub prefix: &'static str,
    /// The directory for links to the results and for the record of the build.
    pub state: &'a State,
    /// Whether to continue after a failure with everything that does not depend on it.
    pub keep_going: bool,
    /// The order in which ready derivations start.
    pub order: Order,
    /// The file for events as JSON lines.
    pub events: Option<&'a Path>,
}

impl Request<'_> {
    /// Builds the attributes, and returns their store paths in the order of `attributes`.
    ///
    /// # Errors
    /// When Nix is not installed, evaluation or a build fails, or the command is interrupted.
    pub fn build(&self) -> Result<Vec<PathBuf>> {
        let (config, tree) = std::thread::scope(|scope| {
            let tree = scope.spawn(|| Tree::update(Path::new(self.flake)));
            (self.nix.config(), tree.join())
        });
        let config = config?;
        match self.arguments(&config) {
            // Without a tree, Nix reports the problem with the repository.
            Ok(arguments) => {
                let tree = tree.ok().and_then(Result::ok).flatten();
                Session::new(self, config, arguments, tree)?.run()
            }
            Err(why) => {
                note!("`nix build` builds in its own order: {why}");
                let mut nix = self.nix.clone();
                if self.keep_going {
                    nix.extra.push("--keep-going".into());
                }
                nix.build(
                    self.flake,
                    self.prefix,
                    self.attributes,
                    self.out_link().as_deref(),
                )
            }
        }
    }

    /// Returns the arguments of `nix build` that the driver supports, or the reason why it can't be
    /// used.
    fn arguments(&self, config: &NixConfig) -> Result<Arguments, String> {
        let arguments = Arguments::parse(&self.nix.extra)
            .map_err(|argument| format!("the driver does not know the argument {argument:?}"))?;
        let mut config = config.clone();
        for (name, value) in &arguments.options {
            config.set(name, value);
        }
        if config.has_builders() {
            return Err("it has other machines to build on".to_owned());
        }
        Ok(arguments)
    }

    fn out_link(&self) -> Option<PathBuf> {
        let link = self.state.path().join("image");
        self.nix.store.is_none().then_some(link)
    }
}

/// One run.
struct Session<'a> {
    request: &'a Request<'a>,
    config: NixConfig,
    driver: Driver,
    evaluation: Evaluation,
    /// The directory of the changed files.
    tree: Option<Tree>,
    progress: Progress,
    interrupts: Interrupts,
    beginning: Instant,
    durations: Durations,
    /// The record of the last build.
    previous: BuildRecord,
    /// The `.drv` files of that build, until they have been read.
    expected: Vec<String>,
    record: BuildRecord,
}

impl<'a> Session<'a> {
    fn new(
        request: &'a Request,
        mut config: NixConfig,
        arguments: Arguments,
        tree: Option<Tree>,
    ) -> Result<Self> {
        for (name, value) in &arguments.options {
            config.set(name, value);
        }
        let interrupts = Interrupts::notice()?;
        let durations = durations::default_path().map(|path| Durations::read(&path));
        // A record of another version is ignored.
        let previous = record(request.state).ok().flatten().unwrap_or_default();
        let driver = Driver::start(settings(request, &config, &arguments))?;
        Ok(Self {
            progress: Progress::new(Path::new(request.flake), request.events)?,
            record: BuildRecord {
                version: build_record::FORMAT,
                jobs: driver.settings().jobs,
                ..BuildRecord::default()
            },
            request,
            evaluation: Evaluation::new(
                &config,
                request.flake,
                request.prefix,
                &driver.settings().launch,
            ),
            driver,
            tree,
            config,
            interrupts,
            beginning: Instant::now(),
            durations: durations.transpose()?.unwrap_or_default(),
            expected: previous.derivations.values().flatten().cloned().collect(),
            previous,
        })
    }

    fn run(mut self) -> Result<Vec<PathBuf>> {
        let result = self.evaluate_and_build();
        self.remember();
        let paths = result?;
        self.link(&paths)?;
        // Whoever interrupts the end of a build wants nothing more of the command either.
        driver::stop_if(self.interrupts.flag())?;
        Ok(paths)
    }

    fn evaluate_and_build(&mut self) -> Result<Vec<PathBuf>> {
        let closure = self.evaluate()?;
        let report = self.drive(&closure)?;
        let outputs = report.outputs.iter().map(|outputs| outputs.first());
        let paths: Vec<PathBuf> = outputs.flatten().map(PathBuf::from).collect();
        let images = self.request.attributes.iter().zip(&paths);
        self.record.images = images
            .map(|(name, path)| Image {
                name: name.trim_end_matches("-image").to_owned(),
                path: path.to_string_lossy().into_owned(),
            })
            .collect();
        Ok(paths)
    }

    /// Evaluates the attributes to their derivations.
    fn evaluate(&mut self) -> Result<Closure> {
        if let Some(closure) = self.evaluate_tree()? {
            return Ok(closure);
        }
        let derivations = self.evaluate_flake()?;
        tree::remember(Path::new(self.request.flake))?;
        self.closure(&derivations)
    }

    /// Evaluates the attributes in the directory of the changed files. Returns `None` if Nix must
    /// copy the files first. Errors here would occur again in that copy, where they are reported.
    fn evaluate_tree(&mut self) -> Result<Option<Closure>> {
        let Some(tree) = self.tree.take() else {
            return Ok(None);
        };
        let attributes = self.request.attributes;
        let images = |evaluation: &Evaluation| evaluation.images(Files::Tree(&tree), attributes);
        let mut evaluated = self.evaluated(images)?;
        if let Evaluated::WantsBuilds = evaluated {
            self.drive_stages(Files::Tree(&tree))?;
            evaluated = self.evaluated(images)?;
        }
        let Evaluated::Done(derivations) = evaluated else {
            return Ok(None);
        };
        let closure = self.closure(&derivations)?;
        Ok((!closure.says(Tree::NAME)).then_some(closure))
    }

    /// Evaluates the attributes to their `.drv` files. The driver also builds the derivations that
    /// evaluation needs.
    fn evaluate_flake(&mut self) -> Result<Vec<String>> {
        let attributes = self.request.attributes;
        let images = |evaluation: &Evaluation| evaluation.images(Files::Flake, attributes);
        match self.evaluated(images)? {
            Evaluated::Done(derivations) => return Ok(derivations),
            Evaluated::WantsBuilds => {
                self.drive_stages(Files::Flake)?;
                let again = self.evaluated(images)?;
                if let Evaluated::Done(derivations) = again {
                    return Ok(derivations);
                }
            }
            Evaluated::Failed => {}
        }
        let whole = |evaluation: &Evaluation| {
            evaluation.attributes(Files::Flake, attributes, evaluation.building())
        };
        match self.evaluated(whole)? {
            Evaluated::Done(derivations) => Ok(derivations),
            Evaluated::WantsBuilds | Evaluated::Failed => bail!("evaluation failed"),
        }
    }

    /// Builds the derivations that evaluation reads. If a flake does not list them, Nix builds them
    /// during evaluation.
    fn drive_stages(&mut self, files: Files<'_>) -> Result<()> {
        for stage in STAGES {
            let stage = [stage.to_owned()];
            let stage =
                |evaluation: &Evaluation| evaluation.attributes(files, &stage, Building::Refused);
            let Evaluated::Done(derivations) = self.evaluated(stage)? else {
                break;
            };
            let closure = self.closure(&derivations)?;
            // The path of the copy's directory must not get into the store.
            if closure.says(Tree::NAME) {
                break;
            }
            self.drive(&closure)?;
        }
        Ok(())
    }

    /// Evaluates, and records how long it took. Meanwhile the driver reads the derivations of the
    /// last build.
    fn evaluated(
        &mut self,
        evaluate: impl FnOnce(&Evaluation) -> Result<Evaluated>,
    ) -> Result<Evaluated> {
        let pulse = self.progress.phase("evaluating");
        let start = self.now();
        let (driver, evaluation) = (&mut self.driver, &self.evaluation);
        let expected = std::mem::take(&mut self.expected);
        let evaluated = std::thread::scope(|scope| {
            // An error here occurs again in the build, which reports it.
            scope.spawn(move || driver.expect(expected.iter().map(String::as_str)));
            evaluate(evaluation)
        })?;
        drop(pulse);
        driver::stop_if(self.interrupts.flag())?;
        let end = self.now();
        self.record.evaluations.push(Span { start, end });
        Ok(evaluated)
    }

    fn closure(&self, derivations: &[String]) -> Result<Closure> {
        Ok(self.driver.closure(derivations)?)
    }

    /// Builds the missing parts of some derivations.
    fn drive(&mut self, closure: &Closure) -> Result<Report> {
        let progress = &mut self.progress;
        let mut context = driver::Context {
            beginning: self.beginning,
            durations: &mut self.durations,
            previous: &self.previous.derivations,
            interrupted: self.interrupts.flag(),
            observe: &mut |event| progress.show(event),
        };
        let report = self.driver.build(closure, &mut context)?;
        self.record.units.extend(report.units.iter().cloned());
        // The report is for others to read.
        let fetched = report.fetched.iter().cloned().map(|mut fetch| {
            fetch.from = without_passwords(&fetch.from).into_owned();
            fetch
        });
        self.record.fetched.extend(fetched);
        for (name, paths) in &report.derivations {
            let known = self.record.derivations.entry(name.clone()).or_default();
            known.extend(paths.iter().cloned());
            known.sort();
            known.dedup();
        }
        if report.is_complete() {
            return Ok(report);
        }
        Err(failure(&report))
    }

    /// Makes links that protect the images from garbage collection. Another store keeps its own
    /// links.
    fn link(&self, paths: &[PathBuf]) -> Result<()> {
        if self.request.nix.store.is_some() {
            return Ok(());
        }
        let links = self.request.attributes.iter().zip(paths);
        let links = links.map(|(name, path)| (name.clone(), path.clone()));
        links::make(&self.config, self.request.state, &links.collect::<Vec<_>>())
    }

    fn now(&self) -> f64 {
        self.beginning.elapsed().as_secs_f64()
    }
}

/// Returns the error for a failure that has already been shown.
fn failure(report: &Report) -> anyhow::Error {
    let failed = || report.units.iter().filter(|u| u.outcome == Outcome::Failed);
    let names: Vec<&str> = failed().map(|unit| unit.name.as_str()).collect();
    let skipped = report.count(Outcome::Skipped);
    anyhow!(
        "{} failed: {}; {skipped} of {} not built{}",
        names.len(),
        names.join(", "),
        report.units.len(),
        remedy(failed().map(|unit| unit.kind.as_str())),
    )
}

/// Returns what to do about failures of these kinds, if there is one thing to do. A crate that is
/// new in `Cargo.lock` is a download of the build unless it was fetched before.
fn remedy<'k>(mut kinds: impl Iterator<Item = &'k str>) -> &'static str {
    match kinds.any(|kind| kind == "download") {
        true => "\n  try: assemble fetch, which brings what the locks pin, by cargo and apt",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_download_learns_how_to_fetch() {
        let said = remedy(["lib", "download"].into_iter());
        assert!(said.contains("try: assemble fetch"), "{said}");
        assert_eq!(remedy(["lib", "other"].into_iter()), "");
    }
}
