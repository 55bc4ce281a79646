//! Secrets that get no token because its owner has as many as an owner may have. A token that is deleted makes room for one of them.

use jiff::Timestamp;

use rotation::event::{EventName, Report};
use rotation::reason::Reason;
use rotation::record::Record;
use rotation::runner::Ended;

use super::Daemon;
use super::queue::Key;

/// The document says that its secret waits for room.
fn waits_for_room(record: &Record) -> bool {
    let failure = record.health.failure.as_ref();
    failure.is_some_and(|it| it.reason == Reason::TokenLimitReached && it.retry_at.is_some())
}

impl Daemon {
    /// Takes note of whether a secret waits for room since its run ended.
    pub(super) fn note_limit(&mut self, name: &Key, ended: &Ended) {
        let known = ended.journal.as_ref();
        let Some(record) = known.and_then(|known| known.record.as_deref()) else {
            return;
        };
        match waits_for_room(record) {
            true => self.without_room.insert(name.clone()),
            false => self.without_room.remove(name),
        };
    }

    /// A token of this issuer was deleted: one secret that waits for room tries again at once, and the others in their time.
    pub(super) fn use_room(&mut self, service: &str, reports: &[Report], now: Timestamp) {
        let is_deletion = |report: &Report| report.event == EventName::TokenDeleted;
        if !reports.iter().any(is_deletion) {
            return;
        }
        let roster = &self.roster;
        let is_here = |name: &&Key| {
            let entry = roster.get(&***name);
            entry.is_some_and(|entry| entry.plan.service == service)
        };
        let Some(name) = self.without_room.iter().find(is_here).cloned() else {
            return;
        };
        self.without_room.remove(&name);
        if let Some(entry) = self.roster.get_mut(&name) {
            entry.hurry(now);
        }
        self.rearm(&name, now);
    }
}
