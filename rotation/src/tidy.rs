//! Cleaning up: open attempts, tokens with our marker that nobody knows, and values that changed behind the journal's back.
//!
//! The rule that everything here serves: a token of an attempt is deleted only when a store of it can no longer be accepted (the
//! secret's version is past the attempt's base) and it never stood in a version. Otherwise it retires with full grace.

use std::time::Duration;

use jiff::Timestamp;

use super::adopt::went_back;
use super::error::ErrorKind;
use super::event::{EventName, Report};
use super::facts::{Act, Command, Looked, Now, Seen};
use super::machine::{Run, Then};
use super::record::{OpenAttempt, Proof, Record, RetiringState, Work};
use super::standing::Standing;
use super::token::{Epoch, Marker, TokenId, TokenInfo};

/// Two listings that show nothing must be at least this far apart before an open attempt is closed (less where `settle` is shorter).
const LISTINGS_APART: Duration = Duration::from_secs(60);

/// What to do about a token of an open attempt.
enum Find {
    /// First this.
    Ask(Command),
    /// The secret must move on first, and can.
    Fence(u64),
    /// The secret must move on first, and nothing can move it now.
    Blocked,
    /// It may have been current.
    Retire(u64),
    /// It never was and never will be.
    Delete,
}

impl Run {
    /// The value in Vault is not what the journal says: a store that nobody committed, or a person's rollback.
    pub(super) fn reconcile(&mut self, now: Now) -> Option<Command> {
        let holds = self.seen.as_ref()?.holds()?.clone();
        let record = self.record()?;
        let known = holds.id.as_ref().is_some_and(|id| record.is_current(id));
        if known || self.is_moved() {
            return None;
        }
        match self.standing() {
            Err(command) => Some(command),
            Ok(Standing::Adoptable) => Some(self.adopt(now)),
            Ok(Standing::Foreign) => Some(self.take_foreign(now)),
            Ok(Standing::Returned) => {
                let enabled = matches!(&self.looked, Some(Looked::Known(info)) if info.enabled);
                let claimed = self.record().is_some_and(|record| record.claim.is_some());
                if enabled || claimed {
                    return Some(self.take_back(now));
                }
                Some(self.claim_tidy(now))
            }
            Ok(_) => None,
        }
    }

    pub(super) fn claim_tidy(&mut self, now: Now) -> Command {
        let mut record = self.draft();
        record.claim = Some(self.claim(Work::Tidy, now));
        self.write(record, vec![], Then::Refresh, now)
    }

    fn release(&mut self, now: Now) -> Command {
        let mut record = self.draft();
        record.claim = None;
        self.write(record, vec![], Then::Go, now)
    }

    /// Goes on with a clean-up that this run claimed.
    pub(super) fn tidy_claimed(&mut self, now: Now) -> Command {
        if self.seen.is_none() {
            return Command::ReadSecret;
        }
        if let Some(command) = self.reconcile(now) {
            return command;
        }
        if let Some(command) = self.tidy(now) {
            return command;
        }
        match self.unfenced(now) {
            Some(base) => Command::Rewrite { base },
            None => self.release(now),
        }
    }

    /// The next command of clean-up; none = there is nothing to clean up now.
    pub(super) fn tidy(&mut self, now: Now) -> Option<Command> {
        let record = self.record()?.clone();
        if record.coordinates.base_url != self.errand.plan.coordinates.base_url {
            return None;
        }
        let Some(listing) = self.errand.listing.clone() else {
            let due = record
                .open
                .iter()
                .any(|open| self.next_listing(open) <= now.wall);
            return due.then_some(Command::List);
        };
        for open in &record.open {
            let command = match find(&listing.tokens, &record.epoch, open.attempt) {
                Some(token) => self.settle_found(open, &token, now),
                None => self.settle_missing(open, listing.at, now),
            };
            if command.is_some() {
                return command;
            }
        }
        self.settle_unknown(&record, &listing.tokens, now)
    }

    /// When the next listing can tell something about this open attempt.
    pub(super) fn next_listing(&self, open: &OpenAttempt) -> Timestamp {
        let settle = self.errand.plan.settle;
        match open.missed {
            None => open.since,
            Some(missed) => {
                let second = missed
                    .checked_add(settle.min(LISTINGS_APART))
                    .unwrap_or(missed);
                let settled = open.since.checked_add(settle).unwrap_or(open.since);
                second.max(settled)
            }
        }
    }

    /// A listing shows no token of this attempt. That proves nothing until it did so twice, apart, and effects had time to appear.
    fn settle_missing(
        &mut self,
        open: &OpenAttempt,
        listed: Timestamp,
        now: Now,
    ) -> Option<Command> {
        let first = open.missed.is_none() && listed >= open.since;
        let last = open.missed.is_some() && listed >= self.next_listing(open);
        if !first && !last {
            return None;
        }
        let mut record = self.draft();
        if last {
            record.open.retain(|other| other.attempt != open.attempt);
        } else {
            for other in &mut record.open {
                if other.attempt == open.attempt {
                    other.missed = Some(listed);
                }
            }
        }
        Some(self.write(record, vec![], Then::Go, now))
    }

    /// A token of an open attempt is there.
    fn settle_found(&mut self, open: &OpenAttempt, token: &TokenInfo, now: Now) -> Option<Command> {
        let known = self.record().is_some_and(|record| {
            record.is_current(&token.id) || record.retiring(&token.id).is_some()
        });
        if known {
            return Some(self.close(open, vec![], now));
        }
        if let Some((Act::Delete, done)) = self.acted.clone() {
            return Some(match done {
                // It was in this run's listing, so the environment answers for tokens that exist: gone is gone.
                Ok(()) => self.orphan_deleted(open, token, now),
                Err(error) if error.kind == ErrorKind::Gone => {
                    self.orphan_deleted(open, token, now)
                }
                Err(error) => self.give_up(error, now),
            });
        }
        let claimed = self.record().is_some_and(|record| record.claim.is_some());
        match self.judge(open.base, &token.id) {
            Find::Ask(command) => Some(command),
            Find::Blocked => None,
            Find::Retire(version) => {
                let mut record = self.draft();
                self.put_into_grace(&mut record, &token.id, version, Proof::Marker, now);
                // It was stored: what it was to serve is served, whatever was written after it.
                record.last_due = record.last_due.max(open.due);
                record.open.retain(|other| other.attempt != open.attempt);
                Some(self.write(record, vec![retiring_report(token)], Then::Go, now))
            }
            Find::Fence(_) | Find::Delete if !claimed => Some(self.claim_tidy(now)),
            Find::Fence(base) => Some(Command::Rewrite { base }),
            Find::Delete => Some(Command::Act(Act::Delete, token.id.clone())),
        }
    }

    /// May the token of an attempt with this base be deleted?
    fn judge(&self, base: u64, id: &TokenId) -> Find {
        let Some(seen) = &self.seen else {
            return Find::Ask(Command::ReadSecret);
        };
        let version = seen.version();
        if !self.is_past(version, base) {
            return match seen {
                Seen::Present { .. } if self.errand.history && version == base => Find::Fence(base),
                _ => Find::Blocked,
            };
        }
        if !self.errand.history {
            return Find::Retire(version);
        }
        let next = base + 1;
        let place = if version == next {
            seen
        } else {
            match self.past.get(&next) {
                Some(seen) => seen,
                None => return Find::Ask(Command::ReadVersion(next)),
            }
        };
        match place {
            Seen::Present { holds: None, .. } => Find::Delete,
            Seen::Present {
                holds: Some(holds), ..
            } => match &holds.id {
                Some(other) if other != id => Find::Delete,
                // It was stored, or its value does not show whose it is.
                _ => Find::Retire(version.saturating_sub(1)),
            },
            _ => Find::Retire(version.saturating_sub(1)),
        }
    }

    fn close(&mut self, open: &OpenAttempt, reports: Vec<Report>, now: Now) -> Command {
        let mut record = self.draft();
        record.open.retain(|other| other.attempt != open.attempt);
        record.claim = None;
        self.write(record, reports, Then::Go, now)
    }

    fn orphan_deleted(&mut self, open: &OpenAttempt, token: &TokenInfo, now: Now) -> Command {
        let report = Report::new(
            EventName::OrphanDeleted,
            format!(
                "deleted {}, made by the interrupted attempt {} and never stored",
                token.id, open.attempt
            ),
        )
        .token(&token.id);
        self.forget_listed(&token.id);
        self.close(open, vec![report], now)
    }

    /// A listing is a moment's picture: what this run deleted is not looked at again.
    pub(super) fn forget_listed(&mut self, id: &TokenId) {
        if let Some(listing) = &mut self.errand.listing {
            std::sync::Arc::make_mut(&mut listing.tokens).retain(|token| token.id != *id);
        }
    }

    /// Tokens with this secret's marker that the document does not know: a sender that froze before its mint, or a document that is older
    /// than the tokens. They retire with full grace, fenced, for one of them may be somebody's current value.
    fn settle_unknown(
        &mut self,
        record: &Record,
        tokens: &[TokenInfo],
        now: Now,
    ) -> Option<Command> {
        let claimed = match record.claim.as_ref().map(|claim| &claim.work) {
            Some(Work::Rotate {
                attempt: Some(attempt),
                ..
            }) => Some(attempt.n),
            _ => None,
        };
        let mut unknown = tokens.iter().filter_map(|token| {
            let (_, marker) = Marker::split(&token.name);
            let marker = marker.filter(|marker| marker.epoch == record.epoch)?;
            let known = record.is_current(&token.id)
                || record.retiring(&token.id).is_some()
                || record
                    .open
                    .iter()
                    .any(|open| open.attempt == marker.attempt)
                || claimed == Some(marker.attempt);
            (!known).then_some((marker.attempt, token))
        });
        let first = unknown.next()?;
        let Some(seen) = &self.seen else {
            return Some(Command::ReadSecret);
        };
        let version = seen.version();
        let held = seen.holds().and_then(|holds| holds.id.clone());
        let mut draft = self.draft();
        let mut reports = vec![];
        let mut highest = record.attempt;
        for (attempt, token) in std::iter::once(first).chain(unknown) {
            highest = highest.max(attempt);
            if held.as_ref() == Some(&token.id) {
                continue;
            }
            self.put_into_grace(&mut draft, &token.id, version, Proof::Marker, now);
            reports.push(retiring_report(token));
        }
        if highest > record.attempt {
            draft.hold_until = now.wall.checked_add(self.errand.plan.settle).ok();
            reports.push(went_back(&draft, highest));
            draft.attempt = highest;
        }
        if reports.is_empty() {
            return None;
        }
        Some(self.write(draft, reports, Then::Go, now))
    }

    /// The highest attempt of this secret in the listing.
    pub(super) fn highest_listed(&self, epoch: &Epoch) -> u64 {
        let listing = self.errand.listing.iter();
        listing
            .flat_map(|listing| listing.tokens.iter())
            .filter_map(|token| Marker::split(&token.name).1)
            .filter(|marker| marker.epoch == *epoch)
            .map(|marker| marker.attempt)
            .max()
            .unwrap_or(0)
    }
}

/// Is there work for [`Run`] in a listing: a token of this secret that its document does not know, or one of an open attempt? Cheap, so
/// that a sweep can ask it for every secret.
pub fn concerns(record: &Record, tokens: &[TokenInfo]) -> bool {
    tokens.iter().any(|token| {
        let (_, marker) = Marker::split(&token.name);
        marker.is_some_and(|marker| marker.epoch == record.epoch)
            && !record.is_current(&token.id)
            && record
                .retiring(&token.id)
                .is_none_or(|entry| entry.state == RetiringState::Deleting)
    })
}

fn find(tokens: &[TokenInfo], epoch: &Epoch, attempt: u64) -> Option<TokenInfo> {
    tokens
        .iter()
        .find(|token| {
            Marker::split(&token.name)
                .1
                .is_some_and(|marker| marker.epoch == *epoch && marker.attempt == attempt)
        })
        .cloned()
}

fn retiring_report(token: &TokenInfo) -> Report {
    Report::new(
        EventName::RotationRecovered,
        format!(
            "found {} ({}), which no document knew; it retires with full grace",
            token.id, token.name
        ),
    )
    .token(&token.id)
}
