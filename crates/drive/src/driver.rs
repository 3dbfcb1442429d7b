//! Builds the missing derivations of a closure.

mod build;
mod caches;
mod downloads;
mod pool;
mod sharing;
mod time_left;

pub use sharing::Sharing;

use crate::build_record::{Entry, Fetch, Outcome};
use crate::durations::Durations;
use crate::event::Event;
use crate::schedule::Order;
use crate::serve::{Launch, Server};
use crate::{Error, Result};
use build::{Build, Stored};
use crateyard_nix::{Closure, Derivation, Node};
use pool::Pool;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The interval of progress reports and of checks for an interrupt.
const TICK: Duration = Duration::from_millis(100);
/// The number of downloads at once. They wait for the network, not for cores.
const DOWNLOADS: usize = 8;

/// The settings of a driver.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The settings for starting Nix.
    pub launch: Launch,
    /// The number of builds that run at once. It may be larger than the number of cores.
    pub jobs: usize,
    /// The number of the machine's cores.
    pub cores: usize,
    /// The rule by which builds share the cores.
    pub sharing: Sharing,
    /// The order in which ready derivations start.
    pub order: Order,
    /// Whether to continue after a failure with derivations that do not depend on it.
    pub keep_going: bool,
    /// Whether Nix has any caches.
    pub has_caches: bool,
}

impl Settings {
    /// Returns the number of builds that compute at once.
    fn computing(&self) -> usize {
        self.jobs.min(self.cores).max(1)
    }

    /// Returns the cores of a build that runs alone.
    fn share_of_one(&self) -> usize {
        match self.sharing {
            Sharing::Fixed(cores) => cores.max(1),
            Sharing::Even => self.cores,
        }
    }
}

/// The context of a build.
pub struct Context<'a> {
    /// The beginning, to which the times of events are relative.
    pub beginning: Instant,
    /// The known durations. A build adds its own.
    pub durations: &'a mut Durations,
    /// The last build's derivations: name to `.drv` paths.
    pub previous: &'a BTreeMap<String, Vec<String>>,
    /// Set to true to stop the build.
    pub interrupted: &'a AtomicBool,
    /// Receives the events.
    pub observe: &'a mut dyn FnMut(&Event),
}

impl Context<'_> {
    fn now(&self) -> f64 {
        self.beginning.elapsed().as_secs_f64()
    }

    fn stop_if_interrupted(&self) -> Result<()> {
        stop_if(self.interrupted)
    }
}

/// Fails once somebody has asked to stop.
///
/// # Errors
/// [`Error::Interrupted`], if the flag is set.
pub fn stop_if(interrupted: &AtomicBool) -> Result<()> {
    match interrupted.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// The report of a build.
#[derive(Debug, Default)]
pub struct Report {
    /// The derivations to build, in the order in which they started.
    pub units: Vec<Entry>,
    /// The paths that came from caches.
    pub fetched: Vec<Fetch>,
    /// The whole closure: name to `.drv` paths.
    pub derivations: BTreeMap<String, Vec<String>>,
    /// The output paths of each root.
    pub outputs: Vec<Vec<String>>,
}

impl Report {
    /// Returns how many derivations had this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        let ended = self.units.iter().filter(|unit| unit.outcome == outcome);
        ended.count()
    }

    /// Whether all derivations were built.
    pub fn is_complete(&self) -> bool {
        self.units.iter().all(|u| u.outcome == Outcome::Built)
    }
}

/// The driver: processes of Nix that wait for derivations to build.
pub struct Driver {
    settings: Settings,
    /// A process that answers which paths are valid, and protects them from garbage collection
    /// while it lives.
    keeper: Server,
    is_greeted: bool,
    /// Paths that are known to be valid. The keeper protects them.
    valid: BTreeSet<String>,
    /// Maps the path of each `.drv` file that was read to its content, which never changes.
    read: HashMap<String, Derivation>,
    pool: Pool,
}

impl Driver {
    /// Starts the first processes, so that they get ready while the caller evaluates. Call it from
    /// a thread that lives as long as the program, because the processes end with the thread.
    ///
    /// # Errors
    /// Fails if Nix can't be started.
    pub fn start(settings: Settings) -> Result<Self> {
        let keeper = settings.launch.on_disk().start(1, 1)?;
        let mut pool = Pool::new(&settings.launch);
        pool.idle(settings.share_of_one())?;
        Ok(Self {
            settings,
            keeper,
            is_greeted: false,
            valid: BTreeSet::new(),
            read: HashMap::new(),
            pool,
        })
    }

    /// Reads `.drv` files of the last build while the caller evaluates, because they are likely to
    /// be needed. Ignores files that are gone.
    ///
    /// # Errors
    /// Fails if Nix does not answer.
    pub fn expect<'a>(&mut self, paths: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for path in paths {
            if let Ok(derivation) = self.settings.launch.store.derivation(path) {
                self.read.insert(path.to_owned(), derivation);
            }
        }
        let read = std::mem::take(&mut self.read);
        let outputs = read
            .values()
            .flat_map(|derivation| derivation.outputs.values());
        let outputs = outputs.map(|output| output.path.as_str());
        let asked = self.ask(read.keys().map(String::as_str).chain(outputs));
        self.read = read;
        asked
    }

    /// Reads the closure of `roots`.
    ///
    /// # Errors
    /// Fails if a derivation is missing or damaged, or has outputs whose paths are not known yet.
    pub fn closure(&self, roots: &[String]) -> Result<Closure> {
        let store = &self.settings.launch.store;
        Ok(Closure::read_with(store, roots, &self.read)?)
    }

    /// Returns the driver's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Builds the outputs of a closure's roots.
    ///
    /// # Errors
    /// Fails if Nix can't be run, or if the build is interrupted. The driver can't be used after
    /// that. A derivation that fails is not an error but part of the report.
    pub fn build(&mut self, closure: &Closure, context: &mut Context) -> Result<Report> {
        let mut missing = self.missing(closure)?;
        let mut report = Report {
            outputs: outputs_of_roots(closure),
            ..Report::default()
        };
        if missing.is_empty() {
            return Ok(report);
        }
        report.derivations = closure.by_name();
        if self.settings.has_caches {
            let roots = closure
                .roots
                .iter()
                .map(|&root| closure.nodes[root].path.clone());
            report.fetched = caches::fetch(&self.settings, &roots.collect::<Vec<_>>(), context)?;
            missing = self.missing(closure)?;
        }
        let nodes: Vec<&Node> = missing.iter().map(|&node| &closure.nodes[node]).collect();
        let downloaded = downloads::fetch(&self.settings, &nodes, context)?;
        if !downloaded.is_empty() {
            report.fetched.extend(downloaded);
            missing = self.missing(closure)?;
        }
        let fetched = report.fetched.len();
        let stored = Stored {
            closure,
            missing: &missing,
            valid: &self.valid,
        };
        let build = Build::new(&self.settings, &mut self.pool, stored, context)?;
        report.units = build.run(context, fetched)?;
        Ok(report)
    }

    /// Returns the nodes of a closure that must be built.
    fn missing(&mut self, closure: &Closure) -> Result<BTreeSet<usize>> {
        let derivations = closure.nodes.iter().map(|node| node.path.as_str());
        self.ask(closure.outputs().chain(derivations))?;
        Ok(closure.missing(&self.valid))
    }

    /// Asks which of some paths are valid.
    fn ask<'a>(&mut self, paths: impl Iterator<Item = &'a str>) -> Result<()> {
        if !self.is_greeted {
            self.keeper.greet()?;
            self.is_greeted = true;
        }
        let unknown = paths.filter(|path| !self.valid.contains(*path));
        let unknown: Vec<&str> = unknown.collect();
        let found = self.keeper.valid_paths(unknown, false, &mut |_| {})?;
        self.valid.extend(found);
        Ok(())
    }
}

fn outputs_of_roots(closure: &Closure) -> Vec<Vec<String>> {
    let roots = closure.roots.iter().map(|&root| &closure.nodes[root]);
    let outputs = roots.map(|node| node.outputs().map(str::to_owned).collect());
    outputs.collect()
}
