//! Simulates a build on other machines: list scheduling with one task a core.

use crate::schedule::{Graph, Order, Queue};
use serde::Serialize;

/// When and where a task ran.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The task's index.
    pub task: usize,
    /// The core.
    pub core: usize,
    /// Seconds since the beginning.
    pub start: f64,
    /// Seconds since the beginning.
    pub end: f64,
}

/// A simulated build.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// The duration in seconds.
    pub seconds: f64,
    /// Every task, in the order in which they started.
    pub runs: Vec<Run>,
}

/// Returns the lower bound of all orders: the work divided by cores, or the longest path.
pub fn bound(graph: &Graph, cores: usize) -> f64 {
    (graph.work() / cores as f64).max(graph.longest_path())
}

/// Simulates the graph on a number of cores.
pub fn simulate(graph: &Graph, order: Order, cores: usize) -> Simulation {
    let mut queue = Queue::new(graph, order);
    let mut running: Vec<Run> = Vec::new();
    let mut free: Vec<usize> = (0..cores.max(1)).rev().collect();
    let mut runs = Vec::new();
    let mut now = 0.0;
    loop {
        while let Some(core) = free.pop() {
            let Some(task) = queue.take(|_| true) else {
                free.push(core);
                break;
            };
            let end = now + graph.tasks()[task].seconds;
            running.push(Run {
                task,
                core,
                start: now,
                end,
            });
        }
        let soonest = (0..running.len()).min_by(|&a, &b| {
            let (a, b) = (&running[a], &running[b]);
            a.end.total_cmp(&b.end).then(a.task.cmp(&b.task))
        });
        let Some(soonest) = soonest else {
            break;
        };
        let run = running.swap_remove(soonest);
        now = run.end;
        free.push(run.core);
        queue.finish(graph, run.task);
        runs.push(run);
    }
    runs.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.core.cmp(&b.core)));
    Simulation { seconds: now, runs }
}

/// The gain of a build if one task took half its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// The task's name.
    pub name: String,
    /// The task's duration in seconds.
    pub seconds: f64,
    /// The time by which the whole build would end sooner, in seconds.
    pub gain: f64,
}

/// Returns the tasks whose shortening would help most, the best first. Tries only the `candidates`
/// longest tasks.
pub fn worth_attacking(graph: &Graph, cores: usize, candidates: usize) -> Vec<Gain> {
    let whole = simulate(graph, Order::LongestPath, cores).seconds;
    let mut longest: Vec<usize> = (0..graph.tasks().len()).collect();
    longest.sort_by(|&a, &b| {
        let (a, b) = (&graph.tasks()[a], &graph.tasks()[b]);
        b.seconds.total_cmp(&a.seconds).then(a.name.cmp(&b.name))
    });
    longest.truncate(candidates);
    let mut gains: Vec<Gain> = longest
        .into_iter()
        .filter_map(|task| {
            let mut tasks = graph.tasks().to_vec();
            tasks[task].seconds /= 2.0;
            let halved = Graph::new(tasks).ok()?;
            Some(Gain {
                name: graph.tasks()[task].name.clone(),
                seconds: graph.tasks()[task].seconds,
                gain: whole - simulate(&halved, Order::LongestPath, cores).seconds,
            })
        })
        .collect();
    gains.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.name.cmp(&b.name)));
    gains
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Task;

    /// Makes a graph whose tasks depend on earlier ones.
    fn random(rng: &mut fastrand::Rng) -> Graph {
        let count = rng.usize(1..120);
        let degree = rng.usize(1..6);
        let tasks = (0..count)
            .map(|index| {
                let mut inputs: Vec<usize> = (0..rng.usize(0..=degree.min(index)))
                    .map(|_| rng.usize(0..index))
                    .collect();
                inputs.sort_unstable();
                inputs.dedup();
                Task {
                    name: format!("task-{:03}", rng.usize(0..1000)),
                    inputs,
                    // Many short tasks and a few long ones, like crates.
                    seconds: 0.05 + 20.0 * rng.f64().powi(6),
                }
            })
            .collect();
        Graph::new(tasks).unwrap()
    }

    /// Checks that every task runs once, after its inputs, with one task at a time on each core.
    fn check(graph: &Graph, simulation: &Simulation, cores: usize) {
        assert_eq!(simulation.runs.len(), graph.tasks().len());
        let mut ends = vec![f64::NAN; graph.tasks().len()];
        for run in &simulation.runs {
            assert!(ends[run.task].is_nan(), "task {} ran twice", run.task);
            ends[run.task] = run.end;
        }
        let mut free = vec![0.0; cores];
        for run in &simulation.runs {
            for &input in &graph.tasks()[run.task].inputs {
                assert!(ends[input] <= run.start + 1e-9);
            }
            assert!(free[run.core] <= run.start + 1e-9);
            free[run.core] = run.end;
        }
    }

    #[test]
    fn every_order_keeps_the_bound_of_list_scheduling() {
        let mut rng = fastrand::Rng::with_seed(8);
        for _ in 0..300 {
            let graph = random(&mut rng);
            for cores in [1, 2, 3, 4, 16, 64] {
                for order in [Order::Name, Order::LongestPath] {
                    let simulation = simulate(&graph, order, cores);
                    check(&graph, &simulation, cores);
                    // Graham's bound of 1966.
                    let idle = (cores - 1) as f64 / cores as f64;
                    let most = graph.work() / cores as f64 + idle * graph.longest_path();
                    let least = bound(&graph, cores);
                    assert!(simulation.seconds <= most + 1e-6);
                    assert!(simulation.seconds >= least - 1e-6);
                }
            }
        }
    }

    #[test]
    fn longest_path_first_is_better_than_names_on_the_whole() {
        let mut rng = fastrand::Rng::with_seed(80);
        let (mut by_name, mut by_path, mut least) = (0.0, 0.0, 0.0);
        for _ in 0..300 {
            let graph = random(&mut rng);
            by_name += simulate(&graph, Order::Name, 4).seconds;
            by_path += simulate(&graph, Order::LongestPath, 4).seconds;
            least += bound(&graph, 4);
        }
        assert!(by_path < by_name, "{by_path} against {by_name}");
        assert!(by_path < 1.05 * least, "{by_path} against {least}");
    }

    #[test]
    fn what_lies_on_the_path_is_worth_attacking() {
        let task = |name: &str, seconds, inputs: &[usize]| Task {
            name: name.into(),
            inputs: inputs.to_vec(),
            seconds,
        };
        let graph = Graph::new(vec![
            task("beside", 5.0, &[]),
            task("first", 4.0, &[]),
            task("last", 4.0, &[1]),
        ])
        .unwrap();
        let gains = worth_attacking(&graph, 2, 3);
        assert_eq!((gains[0].name.as_str(), gains[0].gain), ("first", 2.0));
        assert_eq!((gains[2].name.as_str(), gains[2].gain), ("beside", 0.0));
    }
}
