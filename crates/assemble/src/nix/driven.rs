//! Builds attributes of a flake by driving Nix (crates/drive), or leaves it to `nix build` where the
//! driver can't do what is asked.

use super::Nix;
use super::arguments::Arguments;
use super::config::Config;
use super::evaluation::{Building, Evaluated, Evaluation};
use super::links;
use super::progress::Progress;
use anyhow::{Result, anyhow, bail};
use drive::closure::Store;
use drive::driver::{self, Driver, Report, Settings, Sharing};
use drive::durations::{self, Durations};
use drive::event::Event;
use drive::record::{self, Image, Outcome, Record, Span};
use drive::schedule::Order;
use drive::serve::Launch;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The file in [`LINKS`](crate::commands::build::LINKS) that says what the last build did.
pub const RECORD: &str = "build.json";

/// What evaluation itself has built, each so that the next can be evaluated (nix/lib.nix).
const STAGES: [&str; 3] = [
    "evaluation.tools",
    "evaluation.description",
    "evaluation.plan",
];

/// What is to be built, and how.
pub struct Request<'a> {
    /// How Nix is to be called.
    pub nix: &'a Nix,
    /// The flake.
    pub flake: &'a str,
    /// Its attributes.
    pub attributes: &'a [String],
    /// Where links to the results and the record of the build are kept.
    pub links: &'a Path,
    /// Whether to go on after a failure with what does not depend on it.
    pub keep_going: bool,
    /// The order in which ready derivations start.
    pub order: Order,
    /// Where events go as JSON lines.
    pub events: Option<&'a Path>,
}

impl Request<'_> {
    /// Builds the attributes; their store paths come in the order of `attributes`.
    ///
    /// # Errors
    /// When Nix is not installed, evaluation fails, a build fails, or it is interrupted.
    pub fn build(&self) -> Result<Vec<PathBuf>> {
        let config = self.nix.config()?;
        match self.arguments(&config) {
            Ok(arguments) => Session::new(self, config, arguments)?.run(),
            Err(why) => {
                eprintln!("note: `nix build` builds in its own order: {why}");
                let mut nix = self.nix.clone();
                if self.keep_going {
                    nix.extra.push("--keep-going".into());
                }
                nix.build(self.flake, self.attributes, self.out_link().as_deref())
            }
        }
    }

    /// What of `nix build`'s arguments the driver honours, or why it can't be used.
    fn arguments(&self, config: &Config) -> Result<Arguments, String> {
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
        self.nix.store.is_none().then(|| self.links.join("image"))
    }
}

/// One run.
struct Session<'a> {
    request: &'a Request<'a>,
    config: Config,
    driver: Driver,
    evaluation: Evaluation,
    progress: Progress,
    interrupted: Arc<AtomicBool>,
    beginning: Instant,
    durations: Durations,
    /// The record of the last build.
    previous: Record,
    record: Record,
}

impl<'a> Session<'a> {
    fn new(request: &'a Request, mut config: Config, arguments: Arguments) -> Result<Self> {
        for (name, value) in &arguments.options {
            config.set(name, value);
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, interrupted.clone())?;
        }
        let durations = durations::default_path().map(|path| Durations::read(&path));
        // A record of another version is as good as none.
        let previous = Record::read(&request.links.join(RECORD)).ok().flatten();
        let driver = Driver::start(settings(request, &config, &arguments))?;
        Ok(Self {
            progress: Progress::new(request.events)?,
            record: Record {
                version: record::FORMAT,
                jobs: driver.settings().jobs,
                ..Record::default()
            },
            request,
            evaluation: Evaluation::new(&config, request.flake, &driver.settings().launch),
            driver,
            config,
            interrupted,
            beginning: Instant::now(),
            durations: durations.transpose()?.unwrap_or_default(),
            previous: previous.unwrap_or_default(),
        })
    }

    fn run(mut self) -> Result<Vec<PathBuf>> {
        let result = self.evaluate_and_build();
        self.remember();
        let paths = result?;
        self.link(&paths)?;
        Ok(paths)
    }

    fn evaluate_and_build(&mut self) -> Result<Vec<PathBuf>> {
        let derivations = self.evaluate()?;
        let report = self.drive(&derivations)?;
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

    /// The `.drv` files of the attributes. What evaluation needs built is driven too.
    fn evaluate(&mut self) -> Result<Vec<String>> {
        let attributes = self.request.attributes;
        match self.evaluated(|evaluation| evaluation.images(attributes))? {
            Evaluated::Done(derivations) => return Ok(derivations),
            Evaluated::WantsBuilds => {
                self.drive_stages()?;
                let again = self.evaluated(|evaluation| evaluation.images(attributes))?;
                if let Evaluated::Done(derivations) = again {
                    return Ok(derivations);
                }
            }
            Evaluated::Failed => {}
        }
        match self.evaluated(|evaluation| evaluation.attributes(attributes, Building::Allowed))? {
            Evaluated::Done(derivations) => Ok(derivations),
            Evaluated::WantsBuilds | Evaluated::Failed => bail!("evaluation failed"),
        }
    }

    /// Builds what evaluation reads. In a flake that does not tell, Nix does so while it evaluates.
    fn drive_stages(&mut self) -> Result<()> {
        for stage in STAGES {
            let stage = [stage.to_owned()];
            match self.evaluated(|evaluation| evaluation.attributes(&stage, Building::Refused))? {
                Evaluated::Done(derivations) => self.drive(&derivations)?,
                Evaluated::WantsBuilds | Evaluated::Failed => break,
            };
        }
        Ok(())
    }

    /// Evaluates, and notes how long it took.
    fn evaluated(
        &mut self,
        evaluate: impl FnOnce(&Evaluation) -> Result<Evaluated>,
    ) -> Result<Evaluated> {
        self.progress.phase("evaluating");
        let start = self.now();
        let evaluated = evaluate(&self.evaluation)?;
        self.stop_if_interrupted()?;
        let end = self.now();
        self.record.evaluations.push(Span { start, end });
        Ok(evaluated)
    }

    /// Builds what is missing of some derivations.
    fn drive(&mut self, derivations: &[String]) -> Result<Report> {
        let progress = &mut self.progress;
        let mut context = driver::Context {
            beginning: self.beginning,
            durations: &mut self.durations,
            previous: &self.previous.derivations,
            interrupted: &self.interrupted,
            observe: &mut |event| progress.show(event),
        };
        let report = self.driver.build(derivations, &mut context)?;
        self.record.units.extend(report.units.iter().cloned());
        self.record.fetched.extend(report.fetched.iter().cloned());
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

    /// Keeps what was learnt, also of a build that failed or was interrupted.
    fn remember(&mut self) {
        let saved = durations::default_path().map_or(Ok(()), |path| self.durations.save(&path));
        for error in [saved, self.write_record()]
            .into_iter()
            .filter_map(Result::err)
        {
            eprintln!("warning: {:#}", anyhow!(error));
        }
    }

    /// Writes down what was done. Nothing to do leaves the record of the build before.
    fn write_record(&mut self) -> drive::Result<()> {
        if self.record.units.is_empty() && self.record.fetched.is_empty() {
            return Ok(());
        }
        let units = &self.record.units;
        let count = |outcome| units.iter().filter(|unit| unit.outcome == outcome).count();
        let done = Event::Done {
            built: count(Outcome::Built),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
            fetched: self.record.fetched.len(),
            seconds: self.now(),
        };
        self.progress.show(&done);
        self.record.seconds = self.now();
        self.record.mark_critical();
        if self.record.images.is_empty() {
            // It did not get so far as to see them all.
            for (name, paths) in std::mem::take(&mut self.previous.derivations) {
                self.record.derivations.entry(name).or_insert(paths);
            }
        }
        self.record.write(&self.request.links.join(RECORD))
    }

    /// Keeps the images from being collected as garbage. A store elsewhere keeps its own links.
    fn link(&self, paths: &[PathBuf]) -> Result<()> {
        if self.request.nix.store.is_some() {
            return Ok(());
        }
        let links = self.request.attributes.iter().zip(paths);
        let links = links.map(|(name, path)| (self.request.links.join(name), path.clone()));
        links::make(&self.config, &links.collect::<Vec<_>>())
    }

    fn now(&self) -> f64 {
        self.beginning.elapsed().as_secs_f64()
    }

    fn stop_if_interrupted(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(drive::Error::Interrupted.into());
        }
        Ok(())
    }
}

fn settings(request: &Request, config: &Config, arguments: &Arguments) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let given = config.number("cores").filter(|&given| given != cores);
    Settings {
        launch: Launch {
            program: config.nix_store(),
            store: Store {
                uri: request.nix.store.clone(),
            },
            config: config.text.clone(),
            arguments: arguments.for_nix(),
            keep_failed: arguments.keep_failed,
            is_direct: config.is_direct(request.nix.store.as_deref()),
        },
        jobs: config.number("max-jobs").unwrap_or(cores),
        cores,
        sharing: given.map_or(Sharing::Even, Sharing::Fixed),
        order: request.order,
        keep_going: request.keep_going || arguments.keep_going,
        has_caches: config.has_caches(),
    }
}

/// What failed; it has been shown.
fn failure(report: &Report) -> anyhow::Error {
    let failed = report.units.iter().filter(|u| u.outcome == Outcome::Failed);
    let names: Vec<&str> = failed.map(|unit| unit.name.as_str()).collect();
    let skipped = report.count(Outcome::Skipped);
    anyhow!(
        "{} failed: {}; {skipped} of {} not built",
        names.len(),
        names.join(", "),
        report.units.len(),
    )
}
