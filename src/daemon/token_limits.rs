//! Secrets that get no new token because its owner has as many as an owner may have. When a token is deleted, one of them is retried at once.

use jiff::Timestamp;

use rotation::event::{EventName, Report};
use rotation::reason::Reason;
use rotation::record::Record;
use rotation::runner::Ended;

use super::Daemon;
use super::queue::Key;

/// The document says that the owner of the token is at the limit, and that the rotation is retried.
fn is_at_limit(record: &Record) -> bool {
    let failure = record.health.failure.as_ref();
    failure.is_some_and(|it| it.reason == Reason::TokenLimitReached && it.retry_at.is_some())
}

impl Daemon {
    /// Notes whether a secret is at the limit since its run ended.
    pub(super) fn note_token_limit(&mut self, name: &Key, ended: &Ended) {
        let known = ended.journal.as_ref();
        let Some(record) = known.and_then(|known| known.record.as_deref()) else {
            return;
        };
        match is_at_limit(record) {
            true => self.at_limit.insert(name.clone()),
            false => self.at_limit.remove(name),
        };
    }

    /// Retries one secret that is at the limit if a token of the same issuer was deleted. The others are retried in their time.
    pub(super) fn retry_at_limit(&mut self, service: &str, reports: &[Report], now: Timestamp) {
        let is_deletion = |report: &Report| report.event == EventName::TokenDeleted;
        if !reports.iter().any(is_deletion) {
            return;
        }
        let roster = &self.roster;
        self.at_limit.retain(|name| roster.contains_key(name));
        let is_here = |name: &&Key| roster[&***name].plan.service == service;
        let Some(name) = self.at_limit.iter().find(is_here).cloned() else {
            return;
        };
        self.at_limit.remove(&name);
        if let Some(entry) = self.roster.get_mut(&name) {
            entry.hurry(now);
        }
        self.rearm(&name, now);
    }
}
