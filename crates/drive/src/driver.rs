//! Builds the missing derivations of a closure.

mod caches;
mod downloads;
mod estimate;
mod pool;
mod sharing;

pub use sharing::Sharing;

use crate::build_record::{Entry, Fetch, Outcome, Span};
use crate::durations::Durations;
use crate::event::Event;
use crate::kind;
use crate::pipelining::{self, Choice, Libraries, Taken};
use crate::reason::Reasons;
use crate::schedule::{Graph, Order, Queue};
use crate::serve::{Built, Launch, Server};
use crate::tasks;
use crate::{Error, Result};
use crateyard_nix::{Closure, Derivation, Node, Recipe};
use estimate::Left;
use pool::{Job, Message, Pool};
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
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        Ok(())
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

/// A running build.
struct Running {
    task: usize,
    slot: usize,
    entry: usize,
    since: Instant,
}

/// The closure, and the nodes of it that must be built.
struct Stored<'a> {
    closure: &'a Closure,
    missing: &'a BTreeSet<usize>,
    valid: &'a BTreeSet<String>,
}

impl Stored<'_> {
    fn has(&self, node: usize) -> bool {
        let mut outputs = self.closure.nodes[node].outputs();
        outputs.all(|path| self.valid.contains(path))
    }

    /// Turns all missing nodes into tasks, and chooses the metadata tasks that take from a
    /// library's output.
    fn tasks(&self, settings: &Settings, context: &Context) -> Result<Taken> {
        let launch = &settings.launch;
        let graph = tasks::graph(&launch.store, self.closure, self.missing, context.durations)?;
        // Nix allows only trusted users to add an input.
        let libraries = match launch.is_direct {
            true => pipelining::libraries(self.closure, self.missing),
            false => Libraries::new(),
        };
        let choice = Choice {
            graph: &graph,
            chosen: self.missing,
            libraries: &libraries,
            order: settings.order,
            jobs: settings.computing(),
        };
        choice.make(|node| self.has(node))
    }
}

struct Build<'a> {
    settings: &'a Settings,
    closure: &'a Closure,
    graph: Graph,
    /// The node of each task.
    tasks: Vec<&'a Node>,
    /// Maps each metadata task that takes from a library to the library's node.
    taken: BTreeMap<usize, usize>,
    queue: Queue,
    pool: &'a mut Pool,
    /// Maps each worker to its build.
    running: HashMap<usize, Running>,
    /// The remaining work, in seconds.
    work_left: f64,
    done: usize,
    entries: Vec<Entry>,
    /// The entries of tasks that have not started, by task.
    waiting: HashMap<usize, Entry>,
    /// Whether no more builds start.
    stopping: bool,
}

impl<'a> Build<'a> {
    fn new(
        settings: &'a Settings,
        pool: &'a mut Pool,
        stored: Stored<'a>,
        context: &Context,
    ) -> Result<Self> {
        let store = &settings.launch.store;
        let closure = stored.closure;
        let missing = stored.missing.iter();
        let nodes: Vec<_> = missing.map(|&node| &closure.nodes[node]).collect();
        let Taken { graph, from } = stored.tasks(settings, context)?;
        let reasons = Reasons {
            store,
            closure,
            previous: context.previous,
        };
        let entry = |task: usize| entry(&graph, &nodes, task, &reasons);
        Ok(Self {
            waiting: (0..nodes.len()).map(|task| (task, entry(task))).collect(),
            queue: Queue::new(&graph, settings.order),
            pool,
            work_left: graph.work(),
            settings,
            closure,
            graph,
            tasks: nodes,
            taken: from,
            running: HashMap::new(),
            done: 0,
            entries: Vec::new(),
            stopping: false,
        })
    }

    fn run(mut self, context: &mut Context, fetched: usize) -> Result<Vec<Entry>> {
        (context.observe)(&Event::Planned {
            to_build: self.tasks.len(),
            to_fetch: fetched,
            jobs: self.settings.jobs,
            work: self.graph.work(),
            longest_path: self.graph.longest_path(),
        });
        loop {
            while !self.stopping && self.start_next(context)? {}
            if self.running.is_empty() {
                break;
            }
            (context.observe)(&self.progress());
            match self.pool.wait(TICK) {
                Some(Message::Built { worker, result }) => self.end(worker, result, context),
                Some(Message::Fetched { .. } | Message::Said(_)) | None => {}
            }
            context.stop_if_interrupted()?;
        }
        let mut left: Vec<(usize, Entry)> = self.waiting.into_iter().collect();
        left.sort_by_key(|(task, _)| *task);
        self.entries
            .extend(left.into_iter().map(|(_, entry)| entry));
        Ok(self.entries)
    }

    /// Starts the next ready derivation if a slot is free.
    fn start_next(&mut self, context: &mut Context) -> Result<bool> {
        let (building, downloading) = self.load();
        let has_room = building < self.settings.jobs;
        let has_room_to_download = downloading < DOWNLOADS;
        let tasks = &self.tasks;
        let next = self
            .queue
            .take(|task| match tasks[task].derivation.is_download() {
                true => has_room_to_download,
                false => has_room,
            });
        // A task becomes ready only once, and has its entry until then.
        let Some((task, entry)) = next.and_then(|task| self.waiting.remove_entry(&task)) else {
            return Ok(false);
        };
        let cores = self.cores_for(task, building);
        let slot = self.free_slot(task);
        let worker = self.pool.idle(cores)?;
        let recipe = self.recipe(task);
        self.pool.give(worker, Job::Build(recipe.into()));
        let running = Running {
            task,
            slot,
            entry: self.entries.len(),
            since: Instant::now(),
        };
        self.running.insert(worker, running);
        self.tell_start(entry, slot, cores, context);
        Ok(true)
    }

    fn recipe(&self, task: usize) -> Recipe {
        let mut recipe = self.closure.recipe(self.tasks[task]);
        if let Some(&library) = self.taken.get(&task) {
            pipelining::take_from(&mut recipe, &self.closure.nodes[library]);
        }
        recipe
    }

    fn tell_start(&mut self, mut entry: Entry, slot: usize, cores: usize, context: &mut Context) {
        entry.span.start = context.now();
        entry.slot = slot;
        entry.cores = cores;
        (context.observe)(&Event::Started {
            name: entry.name.clone(),
            derivation: entry.derivation.clone(),
            slot,
            cores,
            at: entry.span.start,
        });
        self.entries.push(entry);
    }

    /// Counts the derivations that are being built and those that are being downloaded.
    fn load(&self) -> (usize, usize) {
        let downloads = self.running.values().filter(|r| self.is_download(r.task));
        let downloading = downloads.count();
        (self.running.len() - downloading, downloading)
    }

    fn is_download(&self, task: usize) -> bool {
        self.tasks[task].derivation.is_download()
    }

    /// Returns a free slot. Downloads have their own slots, after those of builds.
    fn free_slot(&self, task: usize) -> usize {
        let first = match self.is_download(task) {
            true => self.settings.jobs,
            false => 0,
        };
        let taken: BTreeSet<usize> = self.running.values().map(|r| r.slot).collect();
        (first..)
            .find(|slot| !taken.contains(slot))
            .unwrap_or(first)
    }

    fn cores_for(&self, task: usize, building: usize) -> usize {
        if self.is_download(task) {
            return 1;
        }
        let others = self.queue.ready_tasks().filter(|&t| !self.is_download(t));
        sharing::Moment {
            cores: self.settings.cores,
            is_script: kind::is_script_run(&self.tasks[task].derivation),
            jobs: self.settings.jobs,
            running: building,
            ready: others.count(),
            path: self.graph.remaining(task),
            work: self.work_left,
        }
        .share(self.settings.sharing)
    }

    fn end(&mut self, worker: usize, result: pool::Ended, context: &mut Context) {
        let Some(running) = self.running.remove(&worker) else {
            return;
        };
        let task = running.task;
        let at = context.now();
        let seconds = running.since.elapsed().as_secs_f64();
        self.work_left -= self.graph.tasks()[task].seconds;
        self.done += 1;
        let entry = &mut self.entries[running.entry];
        entry.span.end = at;
        let (name, derivation) = (entry.name.clone(), entry.derivation.clone());
        match result.built {
            Built::Done => {
                entry.outcome = Outcome::Built;
                // The duration of a download says nothing about the next one, and taking metadata
                // says nothing about making it.
                if !self.tasks[task].derivation.is_download() && !self.taken.contains_key(&task) {
                    context.durations.remember(&name, seconds, entry.expected);
                }
                self.queue.finish(&self.graph, task);
                (context.observe)(&Event::Finished {
                    name,
                    derivation,
                    seconds,
                    at,
                });
            }
            Built::Failed { message } => {
                entry.outcome = Outcome::Failed;
                (context.observe)(&Event::Failed {
                    name: name.clone(),
                    derivation,
                    message,
                    log: result.log,
                    at,
                });
                self.stopping |= !self.settings.keep_going;
                self.skip_dependents(task, &name, context);
            }
        }
    }

    fn skip_dependents(&mut self, task: usize, because: &str, context: &mut Context) {
        for lost in self.queue.fail(&self.graph, task) {
            let lost = &self.graph.tasks()[lost];
            self.work_left -= lost.seconds;
            (context.observe)(&Event::Skipped {
                name: lost.name.clone(),
                because: because.to_owned(),
            });
        }
    }

    fn progress(&self) -> Event {
        let mut running: Vec<&Running> = self.running.values().collect();
        running.sort_by_key(|r| r.since);
        let builds: Vec<estimate::Running> = running.iter().map(|r| self.estimate(r)).collect();
        let spent: f64 = builds.iter().map(estimate::Running::spent).sum();
        let paths_that_wait = self.queue.ready_tasks().map(|t| self.graph.remaining(t));
        let left = Left::of(
            &builds,
            paths_that_wait.fold(0.0, f64::max),
            (self.work_left - spent).max(0.0) / self.settings.computing() as f64,
        );
        let names = running
            .iter()
            .map(|r| self.graph.tasks()[r.task].name.clone());
        Event::Progress {
            done: self.done,
            of: self.tasks.len(),
            running: names.collect(),
            left: left.seconds,
            overdue: left.is_overdue,
        }
    }

    fn estimate(&self, running: &Running) -> estimate::Running {
        estimate::Running {
            path: self.graph.remaining(running.task),
            expected: self.graph.tasks()[running.task].seconds,
            elapsed: running.since.elapsed().as_secs_f64(),
        }
    }
}

/// Makes the entry of a task before it starts.
fn entry(graph: &Graph, nodes: &[&Node], task: usize, reasons: &Reasons) -> Entry {
    let inputs = graph.tasks()[task].inputs.iter();
    Entry {
        name: nodes[task].name().to_owned(),
        derivation: nodes[task].path.clone(),
        kind: kind::of_derivation(&nodes[task].derivation).to_owned(),
        outcome: Outcome::Skipped,
        span: Span::default(),
        slot: 0,
        cores: 0,
        expected: graph.tasks()[task].seconds,
        inputs: inputs.map(|&input| nodes[input].path.clone()).collect(),
        reason: reasons.of(nodes[task]),
        critical: false,
    }
}
