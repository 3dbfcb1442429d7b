//! The loop of a build: hands ready tasks to free workers, until none is left.

use super::pool::{self, Job, Message, Pool};
use super::time_left::{self, Left};
use super::{Context, DOWNLOADS, Settings, TICK, sharing};
use crate::Result;
use crate::build_record::{Entry, Outcome, Span};
use crate::event::Event;
use crate::kind;
use crate::pipelining::{self, Choice, Libraries, Taken};
use crate::reason::Reasons;
use crate::schedule::{Graph, Queue};
use crate::serve::Built;
use crate::tasks;
use crateyard_nix::{Closure, Node, Recipe};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// A running build.
struct Running {
    task: usize,
    slot: usize,
    entry: usize,
    since: Instant,
}

/// The closure, and the nodes of it that must be built.
pub(super) struct Stored<'a> {
    pub(super) closure: &'a Closure,
    pub(super) missing: &'a BTreeSet<usize>,
    pub(super) valid: &'a BTreeSet<String>,
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

pub(super) struct Build<'a> {
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
    pub(super) fn new(
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

    pub(super) fn run(mut self, context: &mut Context, fetched: usize) -> Result<Vec<Entry>> {
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
        let builds: Vec<time_left::Running> = running.iter().map(|r| self.estimate(r)).collect();
        let spent: f64 = builds.iter().map(time_left::Running::spent).sum();
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

    fn estimate(&self, running: &Running) -> time_left::Running {
        time_left::Running {
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
