//! Builds attributes of a flake by driving Nix (crates/drive), or leaves it to `nix build` where the
//! driver can't do what is asked.

use super::Nix;
use super::arguments::Arguments;
use super::config::Config;
use super::progress::Progress;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use drive::closure::{self, Store, name_of};
use drive::driver::{self, Driver, Report, Settings, Sharing};
use drive::durations::{self, Durations};
use drive::event::Event;
use drive::record::{self, Image, Outcome, Record, Span};
use drive::schedule::Order;
use drive::serve::Launch;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
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

/// All images (nix/lib.nix).
const ALL: &str = "images";

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

    /// A store elsewhere keeps its own links.
    fn out_link(&self) -> Option<PathBuf> {
        self.nix.store.is_none().then(|| self.links.join("image"))
    }
}

/// One run.
struct Session<'a> {
    request: &'a Request<'a>,
    config: Config,
    driver: Driver,
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
        match self.without_building()? {
            Evaluated::Done(derivations) => return Ok(derivations),
            Evaluated::WantsBuilds => {
                self.drive_stages()?;
                if let Evaluated::Done(derivations) = self.without_building()? {
                    return Ok(derivations);
                }
            }
            Evaluated::Failed => {}
        }
        match self.derivations(self.request.attributes, Building::Allowed)? {
            Evaluated::Done(derivations) => Ok(derivations),
            Evaluated::WantsBuilds | Evaluated::Failed => bail!("evaluation failed"),
        }
    }

    fn without_building(&mut self) -> Result<Evaluated> {
        let attributes = self.request.attributes;
        if attributes.len() > 1 {
            match self.together(attributes)? {
                Evaluated::Failed => {}
                evaluated => return Ok(evaluated),
            }
        }
        self.derivations(attributes, Building::Refused)
    }

    /// The images' `.drv` files by way of the one derivation that they are all inputs of: Nix evaluates a
    /// flake anew for each thing that it is asked for.
    fn together(&mut self, attributes: &[String]) -> Result<Evaluated> {
        let all = match self.derivations(&[ALL.to_owned()], Building::Refused)? {
            Evaluated::Done(all) => all,
            other => return Ok(other),
        };
        let all = closure::read(&self.driver.settings().launch.store, &all[0])?;
        let named = |attribute: &String| {
            let mut inputs = all.input_derivations.keys();
            inputs.find(|path| name_of(path) == attribute).cloned()
        };
        let paths: Option<Vec<String>> = attributes.iter().map(named).collect();
        Ok(paths.map_or(Evaluated::Failed, Evaluated::Done))
    }

    /// Builds what evaluation reads. In a flake that does not tell, Nix does so while it evaluates.
    fn drive_stages(&mut self) -> Result<()> {
        for stage in STAGES {
            let stage = [stage.to_owned()];
            match self.derivations(&stage, Building::Refused)? {
                Evaluated::Done(derivations) => self.drive(&derivations)?,
                Evaluated::WantsBuilds | Evaluated::Failed => break,
            };
        }
        Ok(())
    }

    /// Evaluates attributes to `.drv` files, in their order.
    fn derivations(&mut self, attributes: &[String], building: Building) -> Result<Evaluated> {
        self.progress.phase("evaluating");
        let start = self.now();
        let command = duct::cmd(&self.config.nix, self.evaluation(attributes, building))
            .env("NIX_CONFIG", &self.config.text)
            .stdout_capture()
            .unchecked()
            .before_spawn(|command| {
                drive::process::end_with_parent(command);
                Ok(())
            });
        // What Nix builds by itself it tells by itself.
        let command = match building {
            Building::Refused => command.stderr_capture(),
            Building::Allowed => command,
        };
        let output = command.run().context("cannot start nix")?;
        self.stop_if_interrupted()?;
        let span = Span {
            start,
            end: self.now(),
        };
        self.record.evaluations.push(span);
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            eprint!("{said}");
            let printed = String::from_utf8(output.stdout)?;
            return self.in_order(attributes, printed.lines().collect());
        }
        // It names the setting that forbids the build. What else is wrong it says when it may build.
        let is_refused = building == Building::Refused && said.contains("max-jobs");
        Ok(match is_refused {
            true => Evaluated::WantsBuilds,
            false => Evaluated::Failed,
        })
    }

    fn evaluation(&self, attributes: &[String], building: Building) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["path-info".into(), "--derivation".into()];
        if let Some(store) = &self.request.nix.store {
            args.extend(["--store".into(), store.into()]);
        }
        let launch = &self.driver.settings().launch;
        args.extend(launch.arguments.iter().map(OsString::from));
        if building == Building::Refused {
            args.extend(["--option", "max-jobs", "0"].map(OsString::from));
        }
        let flake = self.request.flake;
        args.extend(
            attributes
                .iter()
                .map(|name| format!("{flake}#{name}").into()),
        );
        args
    }

    /// Nix prints paths in an order of its own. A derivation has the name of its attribute; where
    /// that does not tell, each is asked for alone.
    fn in_order(&mut self, attributes: &[String], printed: Vec<&str>) -> Result<Evaluated> {
        if let ([_], [path]) = (attributes, printed.as_slice()) {
            return Ok(Evaluated::Done(vec![(*path).to_owned()]));
        }
        let named = |attribute: &String| {
            let mut found = printed.iter().filter(|path| name_of(path) == attribute);
            found.next().filter(|_| found.next().is_none())
        };
        let paths: Option<Vec<String>> = attributes
            .iter()
            .map(|attribute| Some((*named(attribute)?).to_owned()))
            .collect();
        if let Some(paths) = paths {
            return Ok(Evaluated::Done(paths));
        }
        let mut paths = Vec::new();
        for attribute in attributes {
            match self.derivations(std::slice::from_ref(attribute), Building::Allowed)? {
                Evaluated::Done(path) => paths.extend(path),
                other => return Ok(other),
            }
        }
        Ok(Evaluated::Done(paths))
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

    /// Has Nix keep a link to each image, so that it is not collected as garbage. Links that are right stay.
    fn link(&self, paths: &[PathBuf]) -> Result<()> {
        if self.request.nix.store.is_some() {
            return Ok(());
        }
        let links = self.request.attributes.iter().zip(paths);
        let links = links.map(|(name, path)| (self.request.links.join(name), path));
        let is_wrong = |(link, path): &(PathBuf, &PathBuf)| {
            !std::fs::read_link(link).is_ok_and(|target| target == **path)
        };
        let makers: Vec<Child> = links
            .filter(is_wrong)
            .map(|(link, path)| self.make_link(&link, path))
            .collect::<Result<_>>()?;
        makers.into_iter().try_for_each(|mut maker| {
            let status = maker.wait()?;
            ensure!(status.success(), "nix build --out-link failed: {status}");
            Ok(())
        })
    }

    fn make_link(&self, link: &Path, path: &Path) -> Result<Child> {
        let mut command = Command::new(&self.config.nix);
        command.args(["build".as_ref(), "--out-link".as_ref(), link, path]);
        command.env("NIX_CONFIG", &self.config.text);
        drive::process::end_with_parent(&mut command);
        command.spawn().context("cannot start nix")
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

/// Whether evaluation may build what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Building {
    Allowed,
    Refused,
}

enum Evaluated {
    /// The `.drv` files.
    Done(Vec<String>),
    /// It reads something that is not built yet.
    WantsBuilds,
    /// It failed otherwise.
    Failed,
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
