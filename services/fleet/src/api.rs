//! The gateway's HTTP API: its paths, and its JSON messages.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Answers 200 as long as the gateway's process serves requests.
pub const HEALTHZ: &str = "/healthz";

/// Answers 200 while the gateway takes new work, 503 as soon as it drains.
pub const READYZ: &str = "/readyz";

/// Prometheus metrics, in the text format.
pub const METRICS: &str = "/metrics";

/// The collection of supervisors: GET lists it.
pub const SUPERVISORS: &str = "/v1/supervisors";

/// The length limit of a supervisor's name, in bytes: that of a DNS name.
pub const MAX_NAME: usize = 253;

/// Returns the path of one supervisor: PUT registers it, GET shows it.
pub fn supervisor_path(id: Uuid) -> String {
    format!("{SUPERVISORS}/{id}")
}

/// Returns the path that takes a supervisor's reports by POST.
pub fn report_path(id: Uuid) -> String {
    format!("{SUPERVISORS}/{id}/report")
}

/// A supervisor's description of itself, sent once. A second registration with the same id changes
/// only the entry's age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The supervisor's name for people. It need not be unique.
    pub name: String,
    /// The supervisor's own version.
    pub version: String,
    /// The host, or the container's host name.
    pub host: String,
    /// The supervised program. Its arguments stay with the supervisor, because they may hold
    /// secrets.
    pub program: String,
    /// The supervisor's process id, as its own system counts it; 1 in a container.
    pub pid: u32,
}

/// The gateway's answer to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The interval between reports, in milliseconds.
    pub heartbeat_ms: u64,
    /// The silence after which the entry is dropped, in milliseconds.
    pub expires_ms: u64,
}

/// The state of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The command was not started yet.
    Starting,
    /// The command runs.
    Running,
    /// The command ended and is started again after a pause.
    BackingOff,
    /// A signal asked for the end; the command has its grace period.
    Stopping,
    /// The command ended and is not started again.
    Stopped,
}

impl State {
    /// Every state, in the order of a supervisor's life.
    pub const ALL: [State; 5] = [
        State::Starting,
        State::Running,
        State::BackingOff,
        State::Stopping,
        State::Stopped,
    ];

    /// Returns the name of the state in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::BackingOff => "backing-off",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
        }
    }
}

/// The way in which a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The command called exit with this code.
    Code(i32),
    /// This signal killed the command.
    Signal(i32),
}

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The time of the end.
    pub at: Timestamp,
    /// The way in which the command ended.
    pub outcome: Outcome,
}

/// A supervisor's present state, sent on every change and as the heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The supervisor's state.
    pub state: State,
    /// The command's process id while it runs.
    pub child_pid: Option<u32>,
    /// The number of restarts of the command over the supervisor's whole life.
    pub restarts: u64,
    /// The last end of the command, if it ever ended.
    pub last_exit: Option<Exit>,
}

impl Default for Report {
    fn default() -> Self {
        Report {
            state: State::Starting,
            child_pid: None,
            restarts: 0,
            last_exit: None,
        }
    }
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// The id that the supervisor chose at its start.
    pub id: Uuid,
    /// The supervisor's registration.
    #[serde(flatten)]
    pub registration: Registration,
    /// The supervisor's last report.
    #[serde(flatten)]
    pub report: Report,
    /// The time of the first registration.
    pub registered_at: Timestamp,
    /// The time of the last message.
    pub seen_at: Timestamp,
}

/// All supervisors that report in time, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorList {
    /// The supervisors, sorted by name, then by id.
    pub supervisors: Vec<Supervisor>,
}

/// The body of every error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The error's reason, for people.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_are_those_of_json() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn an_entry_is_flat_json() {
        let entry = Supervisor {
            id: Uuid::nil(),
            registration: Registration {
                name: "a".into(),
                version: "0.1.0".into(),
                host: "h".into(),
                program: "/usr/bin/app".into(),
                pid: 1,
            },
            report: Report {
                last_exit: Some(Exit {
                    at: Timestamp::UNIX_EPOCH,
                    outcome: Outcome::Signal(9),
                }),
                ..Report::default()
            },
            registered_at: Timestamp::UNIX_EPOCH,
            seen_at: Timestamp::UNIX_EPOCH,
        };
        let json = serde_json::to_value(&entry).unwrap();
        assert_eq!(json["name"], "a");
        assert_eq!(json["state"], "starting");
        assert_eq!(json["last_exit"]["outcome"]["signal"], 9);
        assert_eq!(json["seen_at"], "1970-01-01T00:00:00Z");
        assert_eq!(serde_json::from_value::<Supervisor>(json).unwrap(), entry);
    }
}
