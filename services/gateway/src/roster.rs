//! The supervisors that the gateway knows. They are in memory only, because a supervisor registers
//! again after it was forgotten.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet::api::{Registration, Report, Supervisor};
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

/// The registered supervisors, with the time of each one's last message.
pub(crate) struct Roster {
    expire_after: Duration,
    capacity: usize,
    entries: Mutex<BTreeMap<Uuid, Entry>>,
}

struct Entry {
    supervisor: Supervisor,
    /// A time of the monotonic clock: a change of the wall clock must not expire anyone.
    seen: Instant,
}

/// The effect of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// There is a new entry.
    New,
    /// The entry existed and was updated.
    Again,
    /// There is no room for a new entry.
    Full,
}

impl Roster {
    /// Makes an empty roster. It forgets a supervisor after a silence of `expire_after`, and holds
    /// at most `capacity` entries.
    pub(crate) fn new(expire_after: Duration, capacity: usize) -> Self {
        Roster {
            expire_after,
            capacity,
            entries: Mutex::default(),
        }
    }

    /// Enters a supervisor. Keeps the last report of a supervisor that is already known.
    pub(crate) fn register(&self, id: Uuid, registration: Registration) -> Registered {
        let (now, seen) = (Timestamp::now(), Instant::now());
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(&id) {
            entry.supervisor.registration = registration;
            entry.supervisor.seen_at = now;
            entry.seen = seen;
            return Registered::Again;
        }
        if entries.len() >= self.capacity {
            return Registered::Full;
        }
        let supervisor = Supervisor {
            id,
            registration,
            report: Report::default(),
            registered_at: now,
            seen_at: now,
        };
        entries.insert(id, Entry { supervisor, seen });
        Registered::New
    }

    /// Takes a report. Returns false if the supervisor is not known and must register.
    pub(crate) fn report(&self, id: Uuid, report: Report) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&id).filter(|e| !self.is_silent(e)) else {
            return false;
        };
        entry.supervisor.report = report;
        entry.supervisor.seen_at = Timestamp::now();
        entry.seen = Instant::now();
        true
    }

    /// Returns one supervisor.
    pub(crate) fn get(&self, id: Uuid) -> Option<Supervisor> {
        let entries = self.lock();
        let entry = entries.get(&id).filter(|e| !self.is_silent(e))?;
        Some(entry.supervisor.clone())
    }

    /// Returns all supervisors that report in time, by name and id.
    pub(crate) fn list(&self) -> Vec<Supervisor> {
        let entries = self.lock();
        let heard = entries.values().filter(|e| !self.is_silent(e));
        let mut list: Vec<_> = heard.map(|entry| entry.supervisor.clone()).collect();
        drop(entries);
        list.sort_by(|a, b| (&a.registration.name, a.id).cmp(&(&b.registration.name, b.id)));
        list
    }

    /// Removes the silent supervisors and returns them.
    pub(crate) fn expire(&self) -> Vec<Supervisor> {
        let mut entries = self.lock();
        let silent = entries.iter().filter(|(_, entry)| self.is_silent(entry));
        let ids: Vec<Uuid> = silent.map(|(id, _)| *id).collect();
        let removed = ids.iter().filter_map(|id| entries.remove(id));
        removed.map(|entry| entry.supervisor).collect()
    }

    fn is_silent(&self, entry: &Entry) -> bool {
        entry.seen.elapsed() >= self.expire_after
    }

    /// Locks the entries. No update leaves the map half done, so the gateway serves it even after a
    /// panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::api::State;

    const EXPIRE_AFTER: Duration = Duration::from_secs(30);

    fn registration(name: &str) -> Registration {
        Registration {
            name: name.into(),
            version: "0.1.0".into(),
            host: "host".into(),
            program: "app".into(),
            pid: 1,
        }
    }

    fn running() -> Report {
        Report {
            state: State::Running,
            ..Report::default()
        }
    }

    fn names(roster: &Roster) -> Vec<String> {
        let list = roster.list();
        list.into_iter().map(|s| s.registration.name).collect()
    }

    #[tokio::test]
    async fn lists_by_name() {
        let roster = Roster::new(EXPIRE_AFTER, 9);
        roster.register(Uuid::from_u128(1), registration("b"));
        roster.register(Uuid::from_u128(2), registration("a"));
        assert_eq!(names(&roster), ["a", "b"]);
    }

    #[tokio::test]
    async fn registering_again_keeps_the_report() {
        let roster = Roster::new(EXPIRE_AFTER, 9);
        let id = Uuid::from_u128(1);
        assert_eq!(roster.register(id, registration("a")), Registered::New);
        assert!(roster.report(id, running()));
        assert_eq!(roster.register(id, registration("b")), Registered::Again);
        let entry = roster.get(id).unwrap();
        assert_eq!(entry.registration.name, "b");
        assert_eq!(entry.report.state, State::Running);
    }

    #[tokio::test(start_paused = true)]
    async fn the_silent_expire() {
        let roster = Roster::new(EXPIRE_AFTER, 9);
        let (silent, talking) = (Uuid::from_u128(1), Uuid::from_u128(2));
        roster.register(silent, registration("silent"));
        roster.register(talking, registration("talking"));
        tokio::time::advance(EXPIRE_AFTER / 2).await;
        assert!(roster.report(talking, running()));
        assert_eq!(names(&roster), ["silent", "talking"]);

        tokio::time::advance(EXPIRE_AFTER / 2).await;
        assert_eq!(names(&roster), ["talking"]);
        assert!(roster.get(silent).is_none());
        assert!(!roster.report(silent, running()), "must register again");
        let expired = roster.expire();
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].id, silent);
        assert!(roster.expire().is_empty());
    }

    #[tokio::test]
    async fn a_full_roster_still_serves_those_it_knows() {
        let roster = Roster::new(EXPIRE_AFTER, 1);
        let id = Uuid::from_u128(1);
        roster.register(id, registration("a"));
        let other = roster.register(Uuid::from_u128(2), registration("b"));
        assert_eq!(other, Registered::Full);
        assert_eq!(roster.register(id, registration("a")), Registered::Again);
        assert!(roster.report(id, running()));
    }
}
