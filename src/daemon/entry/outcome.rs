//! What the end of a run means for the next one.

use std::time::Duration;

use jiff::Timestamp;

use crate::ops::known::{Failing, Unusable};
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::record::Reason;
use rotation::request::JournalSnapshot;
use rotation::retry;
use rotation::token::TokenId;

use super::super::at_rest::Document;
use super::Entry;

/// A document that cannot be read is looked at again after this: someone is repairing it.
const UNREADABLE: Duration = Duration::from_secs(60);

impl Entry {
    /// Takes note of how a run ended.
    pub fn ended(&mut self, result: &RunResult, known: Option<JournalSnapshot>, now: Timestamp) {
        self.looked = true;
        self.know(known.map(Document::from), now);
        let health = self.record().map(|record| record.health.clone());
        let is_valid = health.as_ref().is_some_and(|it| it.invalid.is_none());
        let failure = health.and_then(|health| health.failure);
        let retried_at = failure.as_ref().and_then(|failure| failure.retry_at);
        let changed = self.changed;
        // The settings changed while it was under way: it did not see them.
        let outdated = changed.is_some_and(|at| self.started.is_some_and(|began| began < at));
        // A failure that was found with the new settings must not trigger another retry.
        // Only a command accepts a move, and a move that was taken back needs no rotation.
        let stuck = failure.filter(|it| it.retry_at.is_none() && it.reason != Reason::Moved);
        let tried = |at| stuck.is_some_and(|failure| outdated || failure.at < at);
        self.nudged |= changed.is_some_and(tried);
        self.changed = None;
        self.wake = None;
        self.not_before = None;
        let unusable = matches!(
            result,
            RunResult::JournalUnreadable(_) | RunResult::JournalImplausible(_)
        );
        if !unusable && !matches!(result, RunResult::Retry(_)) {
            self.unusable = None;
        }
        if !matches!(result, RunResult::Retry(_) | RunResult::InternalError(_)) {
            self.failing = None;
        }
        let done = matches!(result, RunResult::Done { .. });
        self.value_was_looked_at(done && is_valid);
        let instant = self.due.as_ref().map(|due| due.instant);
        match result {
            RunResult::Done { wake } => {
                self.tries = 0;
                self.retrying = None;
                self.wake = *wake;
                // The schedule changed, so nothing is due, but a recorded failure is still to be retried.
                let enabled = self.settings.as_ref().is_some_and(|it| it.enabled);
                if let Some(at) = retried_at.filter(|_| enabled) {
                    self.nudged = true;
                    self.not_before = Some(at);
                }
            }
            RunResult::ClaimedElsewhere {
                recheck,
                observation,
                ..
            } => {
                self.watch = Some(*observation);
                self.retrying = None;
                // A little later, so that the claim has lapsed by then.
                self.pause(*recheck + Duration::from_millis(50), now);
            }
            RunResult::Failed { retry_at, .. } => {
                self.retrying = retry_at.and(instant);
                self.wake = *retry_at;
                self.not_before = *retry_at;
                if retry_at.is_none() {
                    // A refused call is repeated less and less often.
                    let wait = retry::wait(self.tries, None, fastrand::u64(..));
                    let calm = now.checked_add(wait).unwrap_or(now);
                    self.tries += 1;
                    self.wake = self.left_to_do(calm).map(|at| at.max(calm));
                }
            }
            RunResult::Retry(error) => {
                if error.kind == ErrorKind::Refused {
                    // What may not be read has nothing that could be known.
                    self.held.get_or_insert(None);
                }
                self.retrying =
                    instant.filter(|_| self.due.as_ref().is_some_and(|due| due.at <= now));
                self.retry_after(error.clone(), now);
            }
            RunResult::JournalUnreadable(why) => {
                self.find_unusable(EventName::JournalUnreadable, why.clone(), now);
                self.pause(UNREADABLE, now);
            }
            RunResult::JournalImplausible(why) => {
                self.find_unusable(EventName::JournalImplausible, why.clone(), now);
                self.pause(UNREADABLE, now);
            }
            RunResult::InternalError(why) => {
                let error = CallError::new(Service::Vault, ErrorKind::Transient, why.as_str());
                self.retry_after(error, now);
            }
            RunResult::DryRun(_) | RunResult::Refused(_) => {}
        }
        self.started = None;
        self.hinted = (false, false);
        if outdated {
            // The next run reads the document: what it decides by the new settings depends on that.
            self.set_document(None);
            self.hurry(now);
        }
    }

    /// Takes note of the token whose value it holds, which its document does not know: such a secret may be stuck, and needs its token nevertheless.
    pub fn note_unrecorded(&mut self, value: Result<Option<TokenId>, CallError>, now: Timestamp) {
        match value {
            Ok(id) => self.unrecorded = id,
            // What may not be read has nothing that could be known.
            Err(error) if error.kind == ErrorKind::Refused => {}
            Err(_) => {
                self.held = None;
                let soon = now.checked_add(UNREADABLE).unwrap_or(now);
                self.wake = Some(self.wake.map_or(soon, |wake| wake.min(soon)));
            }
        }
    }

    /// A stuck rotation keeps neither former tokens from retiring nor open attempts from being settled.
    fn left_to_do(&self, soon: Timestamp) -> Option<Timestamp> {
        let record = self.record()?;
        let retiring = record.retiring.iter().filter(|entry| !entry.is_newer());
        let retiring = retiring.map(|entry| entry.due);
        retiring.chain(record.open.iter().map(|_| soon)).min()
    }

    /// Its document cannot be used; the first time is kept.
    pub(super) fn find_unusable(&mut self, event: EventName, mut why: String, now: Timestamp) {
        if self.held.is_none() {
            why += "; until it is known what this secret holds, no old token of its environment is retired";
        }
        let since = self.unusable.as_ref().map_or(now, |before| before.since);
        self.unusable = Some(Unusable { event, why, since });
    }

    /// A run failed without being able to record that; it is retried later and later.
    fn retry_after(&mut self, error: CallError, now: Timestamp) {
        let wait = retry::wait(self.tries, error.retry_after, fastrand::u64(..));
        self.tries += 1;
        self.pause(wait, now);
        // What it was to look at is still to be looked at.
        self.doubt |= self.hinted.0;
        self.reread |= self.hinted.1;
        let before = self.failing.take();
        self.failing = Some(Failing {
            since: before.as_ref().map_or(now, |before| before.since),
            attempts: before.map_or(0, |before| before.attempts) + 1,
            error,
        });
    }

    /// The next run comes after this time and not before.
    fn pause(&mut self, wait: Duration, now: Timestamp) {
        self.wake = Some(now.checked_add(wait).unwrap_or(now));
        self.not_before = self.wake;
    }
}
