//! From a minted token to a committed one: verify, store, commit, or give it up without leaving it behind.

use std::time::Duration;

use super::error::{CallError, ErrorKind};
use super::event::{EventName, Report};
use super::facts::{Act, Command, Holds, Now, Seen};
use super::machine::{Run, Then};
use super::record::{Attempt, Current, Proof, Reason, Trigger, Work};
use super::rotate::{claimed_due, lost};
use super::token::TokenInfo;

/// How long a new token may take to be accepted everywhere. No figure is published; disabling is said to take up to five minutes.
pub(super) const VERIFY_WINDOW: Duration = Duration::from_secs(300);
/// Sends of one store, the same check-and-set every time, before the run leaves it to the journal. With the waits in between about a minute,
/// longer than a Vault cluster takes to elect a leader.
pub(super) const STORES: u32 = 10;

/// The token of the attempt under way, as far as this run has it. A run that dies loses it: the attempt becomes open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hand {
    /// The mint has not been sent.
    Empty,
    /// The mint was sent and its outcome is unclear.
    Unclear,
    /// The environment refused to mint: nothing was made.
    Refused,
    /// The minted token was deleted again: nothing is left of the attempt.
    Gone,
    /// Minted.
    Minted(Box<Minted>),
}

/// A minted token in hand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Minted {
    holds: Holds,
    since: Duration,
    tries: u32,
    pause: Option<Duration>,
    verified: Option<TokenInfo>,
    /// It can manage tokens, where that is asked of it.
    proved: bool,
    sends: u32,
    unclear: bool,
    rejected: bool,
    stored: Option<u64>,
    /// It will not be stored: why, and whether to try again.
    discard: Option<Discard>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Discard {
    Failed(Reason, String, Option<CallError>),
    Superseded(u64),
}

impl Minted {
    /// Fresh from the mint.
    pub(super) fn new(holds: Holds, since: Duration) -> Self {
        Minted {
            holds,
            since,
            tries: 0,
            pause: None,
            verified: None,
            proved: false,
            sends: 0,
            unclear: false,
            rejected: false,
            stored: None,
            discard: None,
        }
    }

    /// A trial did not succeed. A new token may not be known everywhere yet: it is tried again until the window is over.
    fn not_yet(&mut self, error: CallError, now: Now) {
        let discard = |message, error| Some(Discard::Failed(Reason::VerifyFailed, message, error));
        if error.kind == ErrorKind::Refused {
            self.discard = discard(format!("the new token could not be tried: {error}"), None);
            return;
        }
        self.tries += 1;
        if now.mono.saturating_sub(self.since) > VERIFY_WINDOW {
            let message = format!(
                "the new token did not work within {} s; it was not stored",
                VERIFY_WINDOW.as_secs()
            );
            self.discard = discard(message, Some(error));
        } else {
            self.pause = Some(pause(self.tries, error.retry_after));
        }
    }
}

impl Run {
    /// From a minted token to a committed one.
    pub(super) fn bring_home(
        &mut self,
        attempt: &Attempt,
        mut minted: Minted,
        now: Now,
    ) -> Command {
        if let Some(pause) = minted.pause.take() {
            self.hand = Hand::Minted(Box::new(minted));
            return Command::Wait(pause);
        }
        if let Some(version) = minted.stored {
            return self.commit(attempt, &minted, version, now);
        }
        if minted.discard.is_some() {
            return self.discard(&minted, now);
        }
        if minted.verified.is_none() {
            return Command::Verify;
        }
        if self.errand.plan.manages_tokens && !minted.proved {
            // Without the environment's good word nothing could be minted or ended any more.
            let known = self.template.as_ref().is_some_and(|t| t.old_known);
            return Command::Prove(known.then(|| attempt.old.clone()));
        }
        if minted.rejected {
            return self.settle_rejection(attempt, minted, now);
        }
        Command::Store { base: attempt.base }
    }

    pub(super) fn verified(&mut self, info: Result<TokenInfo, CallError>, now: Now) {
        let wanted = self
            .template
            .as_ref()
            .map(|template| template.scopes.clone())
            .unwrap_or_default();
        let Hand::Minted(minted) = &mut self.hand else {
            return;
        };
        let failed =
            |message: String, error| Some(Discard::Failed(Reason::VerifyFailed, message, error));
        match info {
            Ok(info) => {
                let missing: Vec<_> = wanted
                    .iter()
                    .filter(|scope| !info.scopes.contains(scope))
                    .cloned()
                    .collect();
                minted.holds.id = Some(info.id.clone());
                if missing.is_empty() && info.enabled {
                    let report = Report::new(EventName::TokenVerified, "the new token works")
                        .token(&info.id);
                    minted.verified = Some(info);
                    self.tell(report);
                } else {
                    let what = if missing.is_empty() {
                        "is disabled".to_owned()
                    } else {
                        format!("lacks the rights {}", missing.join(", "))
                    };
                    minted.discard = failed(
                        format!("the new token {} {what}; it was not stored", info.id),
                        None,
                    );
                }
            }
            Err(error) => minted.not_yet(error, now),
        }
    }

    /// What came of the proof that a new management token can manage tokens.
    pub(super) fn proved(&mut self, proved: Result<(), CallError>, now: Now) {
        let Hand::Minted(minted) = &mut self.hand else {
            return;
        };
        match proved {
            Ok(()) => minted.proved = true,
            Err(error) => minted.not_yet(error, now),
        }
    }

    pub(super) fn stored(&mut self, stored: Result<u64, CallError>) {
        self.seen = None;
        self.looked = None;
        let Hand::Minted(minted) = &mut self.hand else {
            return;
        };
        minted.sends += 1;
        let error = match stored {
            Ok(version) => {
                minted.stored = Some(version);
                let mut report = Report::new(
                    EventName::SecretStored,
                    format!("the new value is version {version}"),
                );
                report.token_id = minted.holds.id.clone();
                self.tell(report);
                return;
            }
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::Conflict => minted.rejected = true,
            // It was sent before and may have landed: only reading back tells.
            ErrorKind::Refused | ErrorKind::Gone if minted.unclear => minted.rejected = true,
            ErrorKind::Refused | ErrorKind::Gone => {
                minted.discard = Some(Discard::Failed(Reason::VaultRefused, error.what, None));
            }
            kind => {
                minted.unclear |= kind == ErrorKind::Unclear;
                if minted.sends < STORES {
                    minted.pause = Some(pause(minted.sends, error.retry_after));
                } else {
                    self.trouble = Some(error);
                }
            }
        }
    }

    /// The check-and-set was refused: who stands in our place? Version `base + 1` tells, whatever came after it.
    pub(super) fn settle_rejection(
        &mut self,
        attempt: &Attempt,
        mut minted: Minted,
        now: Now,
    ) -> Command {
        let Some(seen) = self.seen.clone() else {
            return Command::ReadSecret;
        };
        let (version, next) = (seen.version(), attempt.base + 1);
        let place = if !self.errand.history {
            // Without history the present is all there is; if it is not ours, nothing is proved.
            match seen.holds() {
                Some(holds) if holds.mark == minted.holds.mark => seen.clone(),
                _ => Seen::Absent,
            }
        } else if version < next {
            if version == attempt.base && minted.sends < STORES {
                // A node that lags behind refused it; nothing was written since.
                minted.rejected = false;
                minted.pause = Some(pause(1, None));
                self.seen = None;
                self.hand = Hand::Minted(Box::new(minted));
                return self.rotate(now);
            }
            // The counter went back: the secret's metadata was deleted, or Vault was restored. Nothing is proved.
            Seen::Absent
        } else if version == next {
            seen.clone()
        } else {
            match self.past.get(&next) {
                Some(seen) => seen.clone(),
                None => return Command::ReadVersion(next),
            }
        };
        match place.holds() {
            Some(holds) if holds.mark == minted.holds.mark => {
                minted.stored = Some(if self.errand.history { next } else { version });
                self.hand = Hand::Minted(Box::new(minted));
                self.rotate(now)
            }
            _ if matches!(place, Seen::Present { .. }) => {
                let unchanged = self
                    .template
                    .as_ref()
                    .zip(seen.holds())
                    .is_some_and(|(template, holds)| template.old_mark == holds.mark);
                if unchanged {
                    return self.rebase(minted, version, now);
                }
                minted.discard = Some(Discard::Superseded(version));
                self.hand = Hand::Minted(Box::new(minted));
                self.rotate(now)
            }
            _ => self.retire_unproved(&minted, version, now),
        }
    }

    /// Somebody changed other fields only: theirs are kept, and the store is repeated on the new version, which the journal learns first.
    pub(super) fn rebase(&mut self, mut minted: Minted, version: u64, now: Now) -> Command {
        let mut record = self.draft();
        if let Some(Work::Rotate {
            attempt: Some(attempt),
            ..
        }) = record.claim.as_mut().map(|claim| &mut claim.work)
        {
            attempt.base = version;
        }
        minted.rejected = false;
        minted.unclear = false;
        self.hand = Hand::Minted(Box::new(minted));
        self.write(record, vec![], Then::Go, now)
    }

    /// Whether our value ever was in Vault cannot be proved: it retires with full grace.
    pub(super) fn retire_unproved(&mut self, minted: &Minted, version: u64, now: Now) -> Command {
        let Some(id) = minted.holds.id.clone() else {
            return self.fail(
                Reason::VerifyFailed,
                "the new token shows no id".into(),
                Some(lost()),
                now,
            );
        };
        let mut record = self.draft();
        self.put_into_grace(&mut record, &id, version, Proof::Marker, now);
        let due = claimed_due(&record);
        record.claim = None;
        record.last_due = record.last_due.max(due);
        let report = Report::new(
            EventName::SecretChangedElsewhere,
            format!("the secret changed while it was being rotated, and what happened cannot be read any more; {id} retires with full grace"),
        )
        .token(&id);
        self.drop_hand();
        self.write(record, vec![report], Then::Served, now)
    }

    /// The minted token will not be stored, and its store was never accepted: delete it at once.
    pub(super) fn discard(&mut self, minted: &Minted, now: Now) -> Command {
        let (Some(id), Some(discard)) = (&minted.holds.id, &minted.discard) else {
            // Its id is not known yet; it is found by its marker.
            return match &minted.discard {
                Some(Discard::Failed(reason, message, error)) => {
                    self.fail(*reason, message.clone(), error.clone(), now)
                }
                _ => self.fail(
                    Reason::VerifyFailed,
                    "the new token shows no id".into(),
                    Some(lost()),
                    now,
                ),
            };
        };
        match &self.acted {
            None => return Command::Act(Act::Delete, id.clone()),
            Some((_, Ok(()))) => self.hand = Hand::Gone,
            // Not seen yet, or unclear, or refused: it stays open and is found by its marker.
            Some((_, Err(_))) => {}
        }
        match discard.clone() {
            Discard::Failed(reason, message, error) => self.fail(reason, message, error, now),
            Discard::Superseded(version) => {
                let mut record = self.draft();
                self.open_attempt(&mut record, now);
                let due = claimed_due(&record);
                record.claim = None;
                record.last_due = record.last_due.max(due);
                let message = format!(
                    "somebody wrote version {version} of {} while it was being rotated; their value stands, and the new token was given up",
                    record.coordinates
                );
                let report = Report::new(EventName::SecretChangedElsewhere, message).token(id);
                self.drop_hand();
                self.forget_secret();
                self.write(record, vec![report], Then::Served, now)
            }
        }
    }

    pub(super) fn commit(
        &mut self,
        attempt: &Attempt,
        minted: &Minted,
        version: u64,
        now: Now,
    ) -> Command {
        let Some(info) = &minted.verified else {
            return Command::Verify;
        };
        let mut record = self.draft();
        let trigger = match record.claim.as_ref().map(|claim| &claim.work) {
            Some(Work::Rotate { trigger, .. }) => *trigger,
            _ => Trigger::Recovery,
        };
        let due = claimed_due(&record);
        let former = record.current.take();
        record.current = Some(Current::new(info, version, &record.epoch));
        let mut message = format!("{} holds {}", record.coordinates, info.id);
        let known = self
            .template
            .as_ref()
            .is_none_or(|template| template.old_known);
        if let Some(former) = former.filter(|former| former.id == attempt.old && known) {
            self.retire_former(&mut record, &former, version, now);
            if let Some(entry) = record.retiring(&former.id) {
                message += &format!("; {} works on until {}", former.id, entry.due);
            }
        }
        record.last_due = record.last_due.max(due);
        record.last_success = Some(now.wall);
        if let Some(failure) = record.failure.take() {
            message += &format!("; the trouble since {} is over", failure.since);
        }
        record.invalid = None;
        record.claim = None;
        let mut report = Report::new(EventName::RotationSucceeded, message)
            .token(&info.id)
            .old(&attempt.old);
        report.trigger = Some(trigger);
        report.attempt = Some(attempt.n);
        self.past.remove(&attempt.base);
        self.postcheck = Some(attempt.base);
        self.write(record, vec![report], Then::Served, now)
    }
}

/// Half a second, doubled each time, at most 20 s; a server's wish counts up to a minute.
pub(super) fn pause(tries: u32, wish: Option<Duration>) -> Duration {
    let own = Duration::from_millis(250 << tries.min(6)).min(Duration::from_secs(20));
    own.max(wish.unwrap_or_default())
        .min(Duration::from_secs(60))
}
