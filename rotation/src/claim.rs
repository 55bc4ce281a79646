//! Claims: whose it is, taking one over, giving up in good order. And the first sight of a secret.

use super::deliver::Hand;
use super::error::{CallError, ErrorKind, Service};
use super::event::{EventName, Level, Report};
use super::facts::{Command, Looked, Now, Seen, Verdict, Watch};
use super::machine::{Run, Then};
use super::record::{Claim, Current, Failure, Reason, Record, SCHEMA, Trigger, Work};
use super::retry;
use super::standing::Standing;
use super::token::Marker;

impl Run {
    /// A claim of this run.
    pub(super) fn claim(&self, work: Work, now: Now) -> Claim {
        Claim {
            work,
            holder: self.errand.holder.instance.clone(),
            boot: self.errand.holder.boot.clone(),
            nonce: self.errand.id.clone(),
            since: now.wall,
            renewed: 0,
        }
    }

    /// Somebody else's claim stands: none = it may be taken over now. A claim of our own name is a dead predecessor's or an
    /// earlier run's; a foreign one lapses when the document stood unchanged for `claim_timeout` on our own monotonic clock.
    /// Taking over too early is safe (the other becomes a zombie, fenced by check-and-set), only wasteful.
    pub(super) fn patience(&mut self, holder: String, version: u64, now: Now) -> Option<Verdict> {
        if self.errand.holder.resumes && holder == self.errand.holder.instance {
            return None;
        }
        let watch = *self.errand.watch.get_or_insert(Watch {
            version,
            since: now.mono,
        });
        let watch = if watch.version == version {
            watch
        } else {
            Watch {
                version,
                since: now.mono,
            }
        };
        let waited = now.mono.saturating_sub(watch.since);
        let timeout = self.errand.plan.claim_timeout;
        (waited < timeout).then(|| Verdict::Busy {
            holder,
            recheck: timeout - waited,
            watch,
        })
    }

    /// Takes over what a dead holder left. Its attempt may have left a token: it becomes open, and nothing is deleted now. Its
    /// disable may still take effect: the entry is tainted.
    pub(super) fn take_over(&mut self, now: Now) -> Command {
        let mut record = self.draft();
        let Some(claim) = record.claim.take() else {
            return Command::ReadJournal;
        };
        let mut left = String::from("nothing to clean up");
        match claim.work {
            Work::Rotate { due, attempt, .. } => {
                if let Some(attempt) = attempt {
                    left = format!("its attempt {} is open", attempt.n);
                    record.open.push(attempt.opened(due, now.wall));
                }
                // Of a secret that left the configuration nothing new is made.
                if !self.errand.leaving {
                    let wish = self.errand.wish.as_ref().and_then(|wish| wish.due);
                    record.claim = Some(self.claim(
                        Work::Rotate {
                            due: due.max(wish),
                            trigger: Trigger::Recovery,
                            attempt: None,
                        },
                        now,
                    ));
                }
            }
            Work::Disable { id } => {
                left = format!("its disable of {id} may still take effect");
                if let Some(entry) = record.retiring.iter_mut().find(|entry| entry.id == id) {
                    entry.tainted = Some(now.wall);
                }
            }
            Work::Undo { id, base, .. } => {
                left = format!("it may have enabled and stored {id}, which retires anew");
                self.back_into_grace(&mut record, &id, base, now);
            }
            Work::Tidy | Work::Delete { .. } => {}
        }
        let report = Report::new(
            EventName::RotationRecovered,
            format!(
                "took over the work of {} (begun {}); {left}",
                claim.holder, claim.since
            ),
        );
        self.drop_hand();
        self.write(record, vec![report], Then::Refresh, now)
    }

    /// The attempt under our claim may have left a token that we cannot account for: keep it open.
    pub(super) fn open_attempt(&self, record: &mut Record, now: Now) {
        let dirty = !matches!(self.hand, Hand::Empty | Hand::Refused | Hand::Gone);
        if let Some(Work::Rotate {
            due,
            attempt: Some(attempt),
            ..
        }) = record.claim.as_ref().map(|claim| &claim.work)
            && dirty
        {
            record.open.push(attempt.opened(*due, now.wall));
        }
    }

    /// Deals with a failed call that no rule of its own covers: releases the claim in good order where that is possible.
    pub(super) fn give_up(&mut self, error: CallError, now: Now) -> Command {
        let refused = error.kind == ErrorKind::Refused;
        let minting = self.hand == Hand::Refused;
        let rotating = match self.record().and_then(|record| record.claim.as_ref()) {
            Some(claim) => matches!(claim.work, Work::Rotate { .. }),
            None => {
                self.rotation_wanted()
                    || self.record().is_none_or(|record| record.current.is_none())
            }
        };
        let (reason, retry) = match (error.service, refused) {
            (_, true) if !rotating => (Reason::RetirementRefused, false),
            (Service::Vault, true) => (Reason::VaultRefused, false),
            (Service::Dynatrace, true) if minting => (Reason::MintRefused, false),
            (Service::Dynatrace, true) => (Reason::DynatraceRefused, false),
            (_, false) => (Reason::Unavailable, true),
        };
        let claimed = self.record().is_some_and(|record| record.claim.is_some());
        if !refused && (error.service == Service::Vault || !claimed) {
            // Without Vault nothing can be written down; without a claim nothing needs to be. The journal stands as it is, and the
            // next run goes on from there.
            return self.finish(Verdict::Later(error));
        }
        let claim = self.record().and_then(|record| record.claim.as_ref());
        if claim.is_some_and(|claim| matches!(claim.work, Work::Undo { .. })) {
            return self.abort_undo(error.what, now);
        }
        if retry && claimed && !rotating {
            // Clean-up and retirement keep their place in the journal and are simply tried again.
            let mut record = self.draft();
            record.claim = None;
            return self.write(record, vec![], Then::Finish(Verdict::Later(error)), now);
        }
        let stuck = self.record().and_then(|record| record.failure.clone());
        if let Some(stuck) = stuck.filter(|stuck| refused && !rotating && stuck.retry_at.is_none())
        {
            // What keeps it from being rotated is told already, and is the first thing to be mended.
            return self.fail(stuck.reason, stuck.message, None, now);
        }
        self.fail(reason, error.what.clone(), retry.then_some(error), now)
    }

    /// Writes a failure down and releases the claim. `retry`: it is tried again by itself, not before the error allows; otherwise
    /// it is stuck, and its due time counts as served.
    pub(super) fn fail(
        &mut self,
        reason: Reason,
        message: String,
        retry: Option<CallError>,
        now: Now,
    ) -> Command {
        let mut record = self.draft();
        self.open_attempt(&mut record, now);
        let served = match record.claim.take().map(|claim| claim.work) {
            Some(Work::Rotate { due, .. }) => due,
            _ => self.errand.wish.as_ref().and_then(|wish| wish.due),
        };
        let former = record.failure.take();
        // One cause may stop rotation and retirement alike: it is one trouble.
        let known = former
            .as_ref()
            .is_some_and(|failure| failure.reason == reason || failure.message == message);
        let count = former.as_ref().map_or(0, |failure| failure.count) + 1;
        let retry_at = retry.as_ref().map(|error| {
            let wait = retry::wait(count - 1, error.retry_after, now.dice);
            now.wall.checked_add(wait).unwrap_or(now.wall)
        });
        if retry_at.is_none() {
            record.last_due = record.last_due.max(served);
        }
        record.failure = Some(Failure {
            reason,
            message: message.clone(),
            since: former
                .filter(|failure| failure.reason == reason)
                .map_or(now.wall, |failure| failure.since),
            at: now.wall,
            count,
            retry_at,
        });
        let event = match retry_at {
            Some(_) => EventName::RotationFailed,
            None => EventName::RotationStuck,
        };
        let mut report = Report::new(event, message);
        // That the value does not work is one trouble with what keeps it from being rotated only where that is the same.
        let invalid = reason.is_of_the_value() && record.invalid.take().is_some();
        if (known || invalid) && retry_at.is_none() {
            // Told already; who keeps the log repeats it for as long as it lasts.
            report.level = Level::Debug;
        }
        report.reason = Some(reason);
        report.trigger = self.errand.wish.as_ref().map(|wish| wish.trigger);
        report.error = retry.map(|error| error.what);
        report.old_token_id = record.current.as_ref().map(|current| current.id.clone());
        self.drop_hand();
        let verdict = Verdict::Failed { reason, retry_at };
        self.write(record, vec![report], Then::Finish(verdict), now)
    }

    /// A secret without a document: only record what is there. The epoch of a token that bears our installation's marker is
    /// adopted, so that a deleted document comes back with its history of attempts.
    pub(super) fn first_sight(&mut self, now: Now) -> Command {
        if self.errand.leaving {
            // Somebody deleted the document: there is nothing to finish.
            return self.finish(Verdict::Settled { wake: None });
        }
        if let Some(error) = self.trouble.take() {
            return self.finish(Verdict::Later(error));
        }
        let standing = match self.standing() {
            Ok(standing) => standing,
            Err(command) => return command,
        };
        if self.errand.dry {
            return self.say(standing, now);
        }
        let mut record = self.blank_record();
        record.adopted_at = now.wall;
        let mut reports = vec![];
        match (standing, self.looked.clone()) {
            (Standing::Stuck(reason, message), _) => {
                record.failure = Some(Failure {
                    reason,
                    message: message.clone(),
                    since: now.wall,
                    at: now.wall,
                    count: 1,
                    retry_at: None,
                });
                let mut report = Report::new(EventName::RotationStuck, message);
                report.reason = Some(reason);
                reports.push(report);
            }
            (_, Some(Looked::Known(info))) => {
                let (_, marker) = Marker::split(&info.name);
                let version = self.seen.as_ref().map_or(0, Seen::version);
                if let Some(marker) = marker
                    && marker.epoch.installation == record.epoch.installation
                {
                    if self.errand.listing.is_none() {
                        return Command::List;
                    }
                    record.attempt = marker.attempt;
                    record.epoch = marker.epoch;
                    // What else bears this secret's marker is found by the next look at the listing and retires with full grace.
                    record.attempt = record.attempt.max(self.highest_listed(&record.epoch));
                }
                let current = Current::new(&info, version, &record.epoch);
                reports.push(self.adopted(&record, &current));
                record.current = Some(current);
            }
            (_, looked) => {
                self.looked = looked.filter(|looked| matches!(looked, Looked::Known(_)));
                return Command::LookUpValue;
            }
        }
        self.write(record, reports, Then::Go, now)
    }

    fn adopted(&self, record: &Record, current: &Current) -> Report {
        let mut message = format!(
            "recorded {} as the current value of {}; it is first rotated at its next due time",
            current.id,
            self.place()
        );
        if record.attempt > 0 {
            message += "; its marker is this installation's, so its document is taken up again";
        }
        Report::new(EventName::SecretAdopted, message).token(&current.id)
    }

    /// A document whose secret could not be read at first sight: try again, and tell only what is new.
    pub(super) fn adopt_late(&mut self, now: Now) -> Option<Command> {
        let record = self.record()?;
        if record.current.is_some() || self.errand.leaving || self.is_moved() {
            return None;
        }
        let known = record.failure.as_ref().map(|failure| failure.reason);
        match self.standing() {
            Err(command) => Some(command),
            Ok(Standing::Stuck(reason, _)) if known == Some(reason) => {
                Some(self.finish(Verdict::Failed {
                    reason,
                    retry_at: None,
                }))
            }
            Ok(Standing::Stuck(reason, message)) => Some(self.fail(reason, message, None, now)),
            Ok(_) => {
                let Some(Looked::Known(info)) = self.looked.clone() else {
                    return None;
                };
                let mut record = self.draft();
                let version = self.seen.as_ref().map_or(0, Seen::version);
                let current = Current::new(&info, version, &record.epoch);
                let report = self.adopted(&record, &current);
                record.current = Some(current);
                record.failure = None;
                record.invalid = None;
                Some(self.write(record, vec![report], Then::Go, now))
            }
        }
    }

    /// An empty document of this secret.
    pub(super) fn blank_record(&self) -> Record {
        Record {
            schema: SCHEMA,
            write_id: String::new(),
            name: self.errand.plan.name.clone(),
            epoch: self.errand.fresh_epoch.clone(),
            coordinates: self.errand.plan.coordinates.clone(),
            adopted_at: jiff::Timestamp::UNIX_EPOCH,
            attempt: 0,
            current: None,
            last_due: None,
            claim: None,
            open: vec![],
            retiring: vec![],
            last_success: None,
            failure: None,
            hold_until: None,
            invalid: None,
            terms: None,
            closed_at: None,
            renamed_to: None,
            events: Default::default(),
            unknown: Default::default(),
        }
    }
}
