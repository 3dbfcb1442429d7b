//! The gateway's HTTP API: its paths and the JSON that goes over them.

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

/// The longest name a supervisor may have, in bytes: that of a DNS name.
pub const MAX_NAME: usize = 253;

/// The path of one supervisor: PUT registers it, GET shows it.
pub fn supervisor_path(id: Uuid) -> String {
    format!("{SUPERVISORS}/{id}")
}

/// The path that takes a supervisor's reports by POST.
pub fn report_path(id: Uuid) -> String {
    format!("{SUPERVISORS}/{id}/report")
}

/// What a supervisor says of itself, once. Registering again with the same id changes nothing but
/// the entry's age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// What people call it; need not be unique.
    pub name: String,
    /// The supervisor's own version.
    pub version: String,
    /// The host, or the container's host name.
    pub host: String,
    /// The program that is supervised. Its arguments stay with the supervisor: they may hold
    /// secrets.
    pub program: String,
    /// The supervisor's process id where it runs; 1 in a container.
    pub pid: u32,
}

/// The gateway's answer to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// How often to report, in milliseconds.
    pub heartbeat_ms: u64,
    /// After how long a silence the entry is dropped, in milliseconds.
    pub expires_ms: u64,
}

/// What a supervisor is doing.
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

    /// The name that JSON and metrics use.
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

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It called exit with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
}

/// A supervisor's present state; sent when it changes, and as the heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it is doing.
    pub state: State,
    /// The command's process id while it runs.
    pub child_pid: Option<u32>,
    /// How often the command was started again, over the supervisor's whole life.
    pub restarts: u64,
    /// How the command ended last, if it ever did.
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
    /// Chosen by the supervisor at its start.
    pub id: Uuid,
    /// What it said when it registered.
    #[serde(flatten)]
    pub registration: Registration,
    /// What it said last.
    #[serde(flatten)]
    pub report: Report,
    /// When it registered first.
    pub registered_at: Timestamp,
    /// When it was heard of last.
    pub seen_at: Timestamp,
}

/// All supervisors that are not silent, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorList {
    /// Sorted by name, then by id.
    pub supervisors: Vec<Supervisor>,
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What was wrong, for people.
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
