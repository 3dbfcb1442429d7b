//! Decides which ready task starts next. The driver and the simulator use the same queue.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// A task that takes time and waits for other tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name, which decides between otherwise equal tasks.
    pub name: String,
    /// The tasks it waits for, by index.
    pub inputs: Vec<usize>,
    /// Its duration in seconds, known or guessed.
    pub seconds: f64,
}

/// The order in which ready tasks start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By name, as Nix does.
    Name,
    /// The one with the longest path to the end first.
    #[default]
    LongestPath,
}

/// A graph of tasks.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    tasks: Vec<Task>,
    dependents: Vec<Vec<usize>>,
    remaining: Vec<f64>,
}

impl Graph {
    /// Creates a graph of these tasks.
    ///
    /// # Errors
    /// Fails if a task waits for itself.
    pub fn new(tasks: Vec<Task>) -> Result<Self> {
        let mut dependents = vec![Vec::new(); tasks.len()];
        for (index, task) in tasks.iter().enumerate() {
            for &input in &task.inputs {
                dependents[input].push(index);
            }
        }
        let mut graph = Self {
            tasks,
            dependents,
            remaining: Vec::new(),
        };
        graph.remaining = graph.longest_paths()?;
        Ok(graph)
    }

    /// Returns the tasks.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Returns the tasks that wait for this one.
    pub fn dependents(&self, task: usize) -> &[usize] {
        &self.dependents[task]
    }

    /// Returns the longest path from the start of this task to the end, in seconds.
    pub fn remaining(&self, task: usize) -> f64 {
        self.remaining[task]
    }

    /// Returns the longest path, in seconds. No number of cores makes the build faster.
    pub fn longest_path(&self) -> f64 {
        self.remaining.iter().copied().fold(0.0, f64::max)
    }

    /// Returns the total time of all tasks, in seconds.
    pub fn work(&self) -> f64 {
        self.tasks.iter().map(|task| task.seconds).sum()
    }

    fn longest_paths(&self) -> Result<Vec<f64>> {
        let mut waiting: Vec<usize> = self.dependents.iter().map(Vec::len).collect();
        let mut pending: Vec<usize> = (0..self.tasks.len()).filter(|&t| waiting[t] == 0).collect();
        let mut remaining = vec![0.0; self.tasks.len()];
        let mut done = 0;
        while let Some(task) = pending.pop() {
            done += 1;
            let after = self.dependents[task].iter().map(|&d| remaining[d]);
            remaining[task] = self.tasks[task].seconds + after.fold(0.0, f64::max);
            for &input in &self.tasks[task].inputs {
                waiting[input] -= 1;
                if waiting[input] == 0 {
                    pending.push(input);
                }
            }
        }
        if done == self.tasks.len() {
            return Ok(remaining);
        }
        let stuck = (0..self.tasks.len()).find(|&t| waiting[t] > 0).unwrap_or(0);
        Err(Error::Cycle {
            name: self.tasks[stuck].name.clone(),
        })
    }
}

/// The rank of a ready task. The smallest starts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Nanoseconds to the end. The longest path comes first.
    path: Reverse<u64>,
    /// The position of the task's name among all names.
    name: usize,
    task: usize,
}

/// The ready tasks, in order, and the waiting ones.
#[derive(Clone, Debug)]
pub struct Queue {
    ranks: Vec<Rank>,
    ready: BTreeSet<Rank>,
    /// The number of inputs that each task still waits for.
    waiting: Vec<usize>,
    /// Whether each task will never be ready.
    skipped: Vec<bool>,
}

impl Queue {
    /// Creates a queue in which the tasks without inputs are ready.
    pub fn new(graph: &Graph, order: Order) -> Self {
        let mut names: Vec<usize> = (0..graph.tasks.len()).collect();
        // Nix compares the names of `.drv` files: "a-metadata" goes before "a".
        names.sort_by_cached_key(|&task| format!("{}.drv", graph.tasks[task].name));
        let mut place = vec![0; names.len()];
        for (name, &task) in names.iter().enumerate() {
            place[task] = name;
        }
        let ranks: Vec<Rank> = (0..graph.tasks.len())
            .map(|task| Rank {
                path: Reverse(match order {
                    Order::Name => 0,
                    Order::LongestPath => (graph.remaining[task] * 1e9) as u64,
                }),
                name: place[task],
                task,
            })
            .collect();
        let waiting: Vec<usize> = graph.tasks.iter().map(|t| t.inputs.len()).collect();
        let ready = ranks.iter().filter(|rank| waiting[rank.task] == 0).copied();
        Self {
            ready: ready.collect(),
            ranks,
            skipped: vec![false; waiting.len()],
            waiting,
        }
    }

    /// Returns the ready tasks, the next one first.
    pub(crate) fn ready_tasks(&self) -> impl Iterator<Item = usize> {
        self.ready.iter().map(|rank| rank.task)
    }

    /// Takes the next ready task for which `fits` holds.
    pub fn take(&mut self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let rank = *self.ready.iter().find(|rank| fits(rank.task))?;
        self.ready.remove(&rank);
        Some(rank.task)
    }

    /// Marks a task as done. Tasks that waited only for it become ready.
    pub fn finish(&mut self, graph: &Graph, task: usize) {
        for &dependent in &graph.dependents[task] {
            self.waiting[dependent] -= 1;
            if self.waiting[dependent] == 0 && !self.skipped[dependent] {
                self.ready.insert(self.ranks[dependent]);
            }
        }
    }

    /// Marks a task as failed. Returns the tasks that depend on it and so will never be ready, in
    /// the order of the graph. Returns each task only once.
    pub fn fail(&mut self, graph: &Graph, task: usize) -> Vec<usize> {
        let mut lost = BTreeSet::new();
        let mut pending = vec![task];
        while let Some(task) = pending.pop() {
            for &dependent in &graph.dependents[task] {
                if !self.skipped[dependent] {
                    self.skipped[dependent] = true;
                    lost.insert(dependent);
                    pending.push(dependent);
                }
            }
        }
        lost.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, seconds: f64, inputs: &[usize]) -> Task {
        Task {
            name: name.into(),
            inputs: inputs.to_vec(),
            seconds,
        }
    }

    #[test]
    fn the_longest_path_goes_first_and_names_decide_ties() {
        let graph = Graph::new(vec![
            task("short", 1.0, &[]),
            task("long", 2.0, &[]),
            task("end", 9.0, &[0]),
            task("also", 2.0, &[]),
            task("also-metadata", 1.5, &[]),
        ])
        .unwrap();
        assert_eq!(graph.longest_path(), 10.0);
        let drain = |order| {
            let mut queue = Queue::new(&graph, order);
            let mut names = Vec::new();
            while let Some(task) = queue.take(|_| true) {
                names.push(graph.tasks()[task].name.as_str());
                queue.finish(&graph, task);
            }
            names
        };
        let by_path = ["short", "end", "also", "long", "also-metadata"];
        assert_eq!(drain(Order::LongestPath), by_path);
        let by_name = ["also-metadata", "also", "long", "short", "end"];
        assert_eq!(drain(Order::Name), by_name);
    }

    #[test]
    fn a_failure_takes_its_dependents_and_nothing_else() {
        let graph = Graph::new(vec![
            task("a", 1.0, &[]),
            task("b", 1.0, &[]),
            task("c", 1.0, &[0, 1]),
            task("d", 1.0, &[2]),
            task("e", 1.0, &[1]),
        ])
        .unwrap();
        let mut queue = Queue::new(&graph, Order::Name);
        assert_eq!(queue.take(|_| true), Some(0));
        assert_eq!(queue.fail(&graph, 0), [2, 3]);
        assert_eq!(queue.take(|_| true), Some(1));
        queue.finish(&graph, 1);
        assert_eq!(queue.take(|_| true), Some(4));
        assert_eq!(queue.take(|_| true), None);
    }

    #[test]
    fn a_cycle_is_named() {
        let error = Graph::new(vec![task("a", 1.0, &[1]), task("b", 1.0, &[0])]).unwrap_err();
        assert_eq!(error.to_string(), "a depends on itself");
    }
}
