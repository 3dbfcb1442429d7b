//! A pool of Nix processes. Each has a thread that talks to it.

use crate::Result;
use crate::serve::{Built, Launch, Said, Server};
use crateyard_nix::Recipe;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The number of downloads at once in one process of Nix.
const DOWNLOADS: usize = 16;
/// The system's message for a full file system (`ENOSPC`).
const NO_ROOM: &str = "No space left on device";

/// A job for a process.
pub(super) enum Job {
    /// Build a derivation.
    Build(Box<Recipe>),
    /// Fetch store paths from caches.
    Fetch { paths: Vec<String> },
}

/// A message from a worker.
pub(super) enum Message {
    /// A build has ended.
    Built { worker: usize, result: Ended },
    /// Nix reports something while it fetches.
    Said(Said),
    /// A fetch has ended.
    Fetched { result: Result<()> },
}

/// The end of a build, with the builder's log.
pub(super) struct Ended {
    pub built: Built,
    pub log: String,
}

struct Worker {
    /// `None` once the worker is to stop.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    pid: u32,
    cores: usize,
    is_idle: bool,
}

/// Processes, by how many cores each gives to a build. They are started on demand, and stay.
pub(super) struct Pool {
    launch: Launch,
    workers: Vec<Worker>,
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

impl Pool {
    pub(super) fn new(launch: &Launch) -> Self {
        let (sender, messages) = channel();
        Self {
            launch: launch.clone(),
            workers: Vec::new(),
            sender,
            messages,
        }
    }

    /// Returns an idle process that gives `cores` cores to a build.
    pub(super) fn idle(&mut self, cores: usize) -> Result<usize> {
        let fits = |worker: &Worker| worker.is_idle && worker.cores == cores;
        if let Some(found) = self.workers.iter().position(fits) {
            return Ok(found);
        }
        let server = self.launch.start(cores, DOWNLOADS)?;
        let reserve = Reserve {
            launch: self.launch.memory.map(|_| self.launch.on_disk()),
            cores,
        };
        let (jobs, work) = channel();
        let messages = self.sender.clone();
        let index = self.workers.len();
        let pid = server.pid();
        let thread = std::thread::spawn(move || serve(server, &reserve, index, &work, &messages));
        self.workers.push(Worker {
            jobs: Some(jobs),
            thread: Some(thread),
            pid,
            cores,
            is_idle: true,
        });
        Ok(index)
    }

    /// Gives work to an idle process.
    pub(super) fn give(&mut self, worker: usize, job: Job) {
        let worker = &mut self.workers[worker];
        worker.is_idle = false;
        if let Some(jobs) = &worker.jobs {
            // A thread ends only when its sender is dropped, so it still receives.
            let _ = jobs.send(job);
        }
    }

    /// Waits for the next message, and returns it if it arrives in time.
    pub(super) fn wait(&mut self, time: Duration) -> Option<Message> {
        let message = self.messages.recv_timeout(time).ok()?;
        if let Message::Built { worker, .. } = &message {
            self.workers[*worker].is_idle = true;
        }
        Some(message)
    }
}

impl Drop for Pool {
    /// Stops running builds. Nix ends its builders and releases its locks.
    fn drop(&mut self) {
        for worker in self.workers.iter().filter(|worker| !worker.is_idle) {
            // SAFETY: the thread, which holds the process, has not ended: its sender is alive.
            unsafe { libc::kill(worker.pid as libc::pid_t, libc::SIGTERM) };
        }
        for worker in &mut self.workers {
            worker.jobs = None;
        }
        for worker in &mut self.workers {
            let ended = worker.thread.take().map(JoinHandle::join);
            debug_assert!(!matches!(ended, Some(Err(_))), "a worker's thread panicked");
        }
    }
}

/// The fallback for builds that need more space than there is in memory.
struct Reserve {
    launch: Option<Launch>,
    cores: usize,
}

impl Reserve {
    /// Repeats a build on the disk if it ran out of space in memory. Otherwise returns `ended`.
    fn take_over(&self, recipe: &Recipe, ended: Ended) -> Ended {
        let is_full = matches!(ended.built, Built::Failed { .. }) && ended.log.contains(NO_ROOM);
        let Some(launch) = self.launch.as_ref().filter(|_| is_full) else {
            return ended;
        };
        let started = launch.start(self.cores, DOWNLOADS);
        match started.and_then(|mut server| server.greet().map(|()| server)) {
            Ok(mut server) => build(&mut server, recipe),
            Err(error) => failed(error.to_string(), String::new()),
        }
    }
}

/// Serves one process until there are no more jobs.
fn serve(
    mut server: Server,
    reserve: &Reserve,
    worker: usize,
    jobs: &Receiver<Job>,
    messages: &Sender<Message>,
) {
    let mut greeted = None;
    for job in jobs {
        let ready = greeted.get_or_insert_with(|| server.greet().map_err(|e| e.to_string()));
        let message = match (job, &*ready) {
            (Job::Build(_), Err(reason)) => Message::Built {
                worker,
                result: failed(reason.clone(), String::new()),
            },
            (Job::Build(recipe), Ok(())) => Message::Built {
                worker,
                result: reserve.take_over(&recipe, build(&mut server, &recipe)),
            },
            (Job::Fetch { paths }, _) => Message::Fetched {
                result: fetch(&mut server, &paths, messages),
            },
        };
        if messages.send(message).is_err() {
            return;
        }
    }
}

fn build(server: &mut Server, recipe: &Recipe) -> Ended {
    let mut log = String::new();
    let built = server.build(recipe, &mut |said| {
        if let Said::Line(line) | Said::Message(line) = said {
            log += &line;
            log.push('\n');
        }
    });
    match built {
        Ok(built) => Ended { built, log },
        Err(error) => failed(error.to_string(), log),
    }
}

fn failed(message: String, log: String) -> Ended {
    Ended {
        built: Built::Failed { message },
        log,
    }
}

fn fetch(server: &mut Server, paths: &[String], messages: &Sender<Message>) -> Result<()> {
    let paths = paths.iter().map(String::as_str);
    server.valid_paths(paths, true, &mut |said| {
        let _ = messages.send(Message::Said(said));
    })?;
    Ok(())
}
