//! Processes of Nix, each with a thread that talks to it.

use crate::Result;
use crate::closure::Recipe;
use crate::serve::{Built, Launch, Said, Server};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Downloads at once in one process of Nix.
const DOWNLOADS: usize = 16;
/// How the system says that a file system is full (`ENOSPC`).
const NO_ROOM: &str = "No space left on device";

/// What a process is to do.
pub enum Job {
    /// Build a derivation.
    Build(Box<Recipe>),
    /// Fetch store paths from caches.
    Fetch { paths: Vec<String> },
}

/// What comes back.
pub enum Message {
    /// A build has ended.
    Built { worker: usize, result: Ended },
    /// Nix tells something while it fetches.
    Said(Said),
    /// All fetching has ended.
    Fetched { result: Result<()> },
}

/// How a build ended, and what the builder wrote.
pub struct Ended {
    pub built: Built,
    pub log: String,
}

struct Worker {
    /// None once it is to end.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    pid: u32,
    cores: usize,
    is_idle: bool,
}

/// Processes by how many cores they give to a build. They are started when they are wanted, and
/// stay.
pub struct Pool {
    launch: Launch,
    workers: Vec<Worker>,
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

impl Pool {
    pub fn new(launch: &Launch) -> Self {
        let (sender, messages) = channel();
        Self {
            launch: launch.clone(),
            workers: Vec::new(),
            sender,
            messages,
        }
    }

    /// A process without work that gives `cores` cores to a build.
    pub fn idle(&mut self, cores: usize) -> Result<usize> {
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
    pub fn give(&mut self, worker: usize, job: Job) {
        let worker = &mut self.workers[worker];
        worker.is_idle = false;
        if let Some(jobs) = &worker.jobs {
            // A thread ends only when its sender is dropped, so this one listens.
            let _ = jobs.send(job);
        }
    }

    /// The next message, if one comes in time.
    pub fn wait(&mut self, time: Duration) -> Option<Message> {
        let message = self.messages.recv_timeout(time).ok()?;
        if let Message::Built { worker, .. } = &message {
            self.workers[*worker].is_idle = true;
        }
        Some(message)
    }
}

impl Drop for Pool {
    /// Stops what still builds. Nix ends its builders and releases its locks.
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

/// How to build what needs more room than there is in memory.
struct Reserve {
    launch: Option<Launch>,
    cores: usize,
}

impl Reserve {
    /// Builds on the disk what failed in memory for want of room; otherwise it stays as it ended.
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

/// Talks to one process until there are no more jobs.
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
