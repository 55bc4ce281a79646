//! The machine of one run: what it knows, and the order in which it looks for work. Pure: [`Run::step`] names the next command,
//! [`Run::fold`] takes what came of it. Nothing here has an effect, and recovery is the same code as normal running: whatever a
//! dead holder left behind is just a state of the journal.
//!
//! Order of work: settle whose claim it is; go on with our own; rotate if wanted; then clean up (open attempts, fence first);
//! then retire (disable, delete). Mint and store always come before any clean-up.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::Template;
use super::deliver::Hand;
use super::error::CallError;
use super::event::{EventName, Report};
use super::facts::{Act, Command, Errand, Known, Looked, Now, Seen, Verdict};
use super::plan::Terms;
use super::record::{Failure, Reason, Record, Work};
use super::token::TokenId;
use super::undo::Back;

/// What could not be settled now (a deleted secret that cannot be fenced, clocks that disagree) is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// One run over one secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub(super) errand: Errand,
    /// The secret as last read; forgotten whenever it may have changed.
    pub(super) seen: Option<Seen>,
    /// The look-up of the value in `seen`.
    pub(super) looked: Option<Looked>,
    /// Older versions of the secret; they do not change, but for being deleted.
    pub(super) past: BTreeMap<u64, Seen>,
    /// The look-up of a retiring token.
    pub(super) probe: Option<(TokenId, Looked)>,
    /// The environment proved in this run that its 404 can be believed.
    pub(super) witnessed: bool,
    /// What came of the last act under this claim.
    pub(super) acted: Option<(Act, Result<(), CallError>)>,
    /// What the new token is to be like.
    pub(super) template: Option<Template>,
    /// The attempt's token, as far as this run has it.
    pub(super) hand: Hand,
    /// How far an undo has come.
    pub(super) back: Back,
    /// How many mints had an unclear outcome.
    pub(super) unclear_mints: u32,
    /// After a commit: the version whose deletion in between must be told.
    pub(super) postcheck: Option<u64>,
    /// A failed call that has not been dealt with.
    pub(super) trouble: Option<CallError>,
    /// When our last journal write was sent.
    claim_sent: Duration,
    /// The journal was read or written in this run.
    pub(super) fresh: bool,
    pub(super) conflicts: u32,
    pub(super) pending: Option<Pending>,
    pub(super) reports: Vec<Report>,
    pub(super) end: Option<Verdict>,
}

/// What happens when the journal write under way is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) record: Box<Record>,
    pub(super) reports: Vec<Report>,
    pub(super) then: Then,
}

/// What follows an acknowledged journal write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// Go on with what is known.
    Go,
    /// Go on, but look at the secret afresh.
    Refresh,
    /// The wish is served; go on with the rest.
    Served,
    /// The run is over.
    Finish(Verdict),
}

impl Run {
    /// A run that knows nothing yet but its errand.
    pub fn new(errand: Errand) -> Self {
        Run {
            errand,
            seen: None,
            looked: None,
            past: BTreeMap::new(),
            probe: None,
            witnessed: false,
            acted: None,
            template: None,
            hand: Hand::Empty,
            back: Back::default(),
            unclear_mints: 0,
            postcheck: None,
            trouble: None,
            claim_sent: Duration::ZERO,
            fresh: false,
            conflicts: 0,
            pending: None,
            reports: Vec::new(),
            end: None,
        }
    }

    /// Drops what only people read from the document that this run holds, so that a search finds equal states equal.
    #[doc(hidden)]
    pub fn forget_history(&mut self) {
        if let Some(record) = self
            .errand
            .journal
            .as_mut()
            .and_then(|known| known.record.as_mut())
        {
            record.forget_history();
        }
    }

    /// Events since the last call, in order.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// The journal document as this run knows it.
    pub fn journal(&self) -> Option<&Known> {
        self.errand.journal.as_ref()
    }

    /// What to rotate and how.
    pub fn plan(&self) -> &super::plan::Plan {
        &self.errand.plan
    }

    /// Where the secret stands: what the journal says, so that a moved secret's retirements look at the old place.
    pub fn place(&self) -> &super::plan::Coordinates {
        match self.record() {
            Some(record) => &record.coordinates,
            None => &self.errand.plan.coordinates,
        }
    }

    /// The next command.
    pub fn step(&mut self, now: Now) -> Command {
        let command = self.decide(now);
        let command = self.renew_before(command, now);
        if let Command::WriteJournal { .. } = command {
            self.claim_sent = now.mono;
        }
        command
    }

    fn decide(&mut self, now: Now) -> Command {
        if let Some(verdict) = &self.end {
            return Command::Finish(verdict.clone());
        }
        let Some(known) = &self.errand.journal else {
            return Command::ReadJournal;
        };
        let version = known.cas;
        let Some(record) = &known.record else {
            return self.first_sight(now);
        };
        if record.closed_at.is_some() && !self.errand.dry {
            return match self.errand.leaving {
                true => self.finish(Verdict::Settled { wake: None }),
                false => self.reopen(now),
            };
        }
        if let Some(claim) = &record.claim
            && claim.nonce != self.errand.id
        {
            if !self.fresh {
                // What is known of somebody else's claim may be old.
                return Command::ReadJournal;
            }
            let holder = claim.holder.clone();
            return match self.patience(holder.clone(), version, now) {
                None if self.errand.dry => self.finish(Verdict::Would(format!(
                    "{}: would first finish the interrupted work of {}",
                    self.errand.plan.name, holder
                ))),
                None => self.take_over(now),
                Some(busy) => Command::Finish(busy),
            };
        }
        if let Some(error) = self.trouble.take() {
            return self.give_up(error, now);
        }
        match record.claim.as_ref().map(|claim| claim.work.clone()) {
            Some(Work::Rotate { .. }) => self.rotate(now),
            Some(Work::Tidy) => self.tidy_claimed(now),
            Some(Work::Disable { id }) => self.disable(&id, now),
            Some(Work::Delete { id }) => self.delete(&id, now),
            Some(Work::Undo { id, base, from }) => self.bring_back(&id, base, from, now),
            None if self.errand.undo => self.undo(now),
            None => self.unclaimed(now),
        }
    }

    /// Nobody has a claim: what is there to do?
    fn unclaimed(&mut self, now: Now) -> Command {
        if self.rotation_wanted() {
            return self.rotate(now);
        }
        if let Some(command) = self.check_behind() {
            return command;
        }
        // A dry run tells of rotations only.
        let idle = self.errand.dry;
        let work = (!idle)
            .then(|| {
                self.notice_move(now)
                    .or_else(|| self.lengthen(now))
                    .or_else(|| self.adopt_late(now))
                    .or_else(|| self.glance())
                    .or_else(|| self.reconcile(now))
                    .or_else(|| self.tidy(now))
                    .or_else(|| self.retire(now))
                    .or_else(|| self.examine(now))
                    .or_else(|| self.close_document(now))
            })
            .flatten();
        work.unwrap_or_else(|| self.rest(now))
    }

    /// Nothing is left to do now, so what was refused to a clean-up or retirement is refused no longer.
    fn rest(&mut self, now: Now) -> Command {
        let refused = |failure: &Failure| failure.reason == Reason::RetirementRefused;
        let over = self
            .record()
            .is_some_and(|record| record.failure.as_ref().is_some_and(refused));
        if over && self.errand.clock_ok && !self.errand.dry {
            let mut record = self.draft();
            record.failure = None;
            return self.write(record, vec![], Then::Go, now);
        }
        Command::Finish(Verdict::Settled {
            wake: self.wake(now),
        })
    }

    /// The sweep wants to know what stands in Vault.
    fn glance(&self) -> Option<Command> {
        (self.errand.glance && self.seen.is_none()).then_some(Command::ReadSecret)
    }

    /// A rotation is wanted, and its due time is not served yet.
    pub(super) fn rotation_wanted(&self) -> bool {
        let (Some(wish), Some(record)) = (&self.errand.wish, self.record()) else {
            return false;
        };
        match wish.due {
            Some(due) => record.last_due.is_none_or(|last| last < due),
            None => true,
        }
    }

    /// When the next step of clean-up or retirement is due. What this run could not settle is not tried again at once.
    fn wake(&self, now: Now) -> Option<Timestamp> {
        let record = self.record()?;
        let soon = now.wall.checked_add(LOOK_AGAIN).ok()?;
        let least = |at: Timestamp| if at <= now.wall { soon } else { at };
        let retiring = record
            .retiring
            .iter()
            .filter(|entry| self.belongs_here(entry))
            .map(|entry| least(entry.due.max(record.hold_until.unwrap_or(entry.due))));
        let open = record
            .open
            .iter()
            .map(|open| least(self.next_listing(open)));
        retiring.chain(open).min()
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.errand.journal.as_ref()?.record.as_deref()
    }

    /// A copy of the document to change and write.
    pub(super) fn draft(&self) -> Record {
        self.record()
            .cloned()
            .unwrap_or_else(|| self.blank_record())
    }

    /// Writes `record` with the events that it tells, then goes on as `then` says.
    pub(super) fn write(
        &mut self,
        mut record: Record,
        reports: Vec<Report>,
        then: Then,
        now: Now,
    ) -> Command {
        record.remember(&reports, now.wall);
        if !self.errand.leaving {
            record.terms = Some(Terms::of(&self.errand.plan));
        }
        let record = Box::new(record);
        self.pending = Some(Pending {
            record: record.clone(),
            reports,
            then,
        });
        let cas = self.errand.journal.as_ref().map_or(0, |known| known.cas);
        Command::WriteJournal { cas, record }
    }

    /// Tells an event that the journal does not keep.
    pub(super) fn tell(&mut self, report: Report) {
        self.reports.push(report);
    }

    pub(super) fn finish(&mut self, verdict: Verdict) -> Command {
        self.end = Some(verdict.clone());
        Command::Finish(verdict)
    }

    /// Under a claim, nothing is sent that has an effect unless the claim was written or renewed a short while ago: a holder that
    /// slept finds out here that it lost its claim.
    fn renew_before(&mut self, command: Command, now: Now) -> Command {
        let effect = matches!(
            command,
            Command::Mint(_)
                | Command::Verify
                | Command::Prove(_)
                | Command::Store { .. }
                | Command::Rewrite { .. }
                | Command::TryVersion(_)
                | Command::Restore { .. }
                | Command::Act(..)
        );
        let limit = self.errand.plan.claim_timeout / 3;
        if !effect || now.mono.saturating_sub(self.claim_sent) <= limit {
            return command;
        }
        let mut record = self.draft();
        if let Some(claim) = &mut record.claim {
            claim.renewed += 1;
        }
        self.write(record, vec![], Then::Go, now)
    }

    /// The version of the secret is past `base`: a store with `cas = base` can no longer be accepted. Without history versions
    /// are fingerprints, and past means different.
    pub(super) fn is_past(&self, version: u64, base: u64) -> bool {
        if self.errand.history {
            version > base
        } else {
            version != base
        }
    }

    /// Tells of a secret that was deleted between our read and our store: a soft delete does not move the version, so the
    /// check-and-set could not see it.
    fn check_behind(&mut self) -> Option<Command> {
        let base = self.postcheck?;
        if !self.errand.history {
            self.postcheck = None;
            return None;
        }
        let Some(seen) = self.past.get(&base) else {
            return Some(Command::ReadVersion(base));
        };
        let deleted = matches!(seen, Seen::Deleted { .. });
        self.postcheck = None;
        if deleted {
            let message = format!(
                "a person deleted version {base} of {} while its token was being rotated, so the new value undid that; delete the \
                 secret again if it was meant",
                self.place()
            );
            self.tell(
                Report::new(EventName::SecretChangedElsewhere, message)
                    .at(super::event::Level::Error),
            );
        }
        None
    }
}
