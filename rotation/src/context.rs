//! What a decision is made from, and what it can be: the vocabulary between the machine and the work.

use jiff::Timestamp;

use super::candidate::{Candidate, Order};
use super::command::{Command, RunResult, TokenAction};
use super::error::CallError;
use super::event::Report;
use super::marker::Epoch;
use super::pause::Pause;
use super::plan::{Coordinates, Plan};
use super::record::{Attempt, Claim, Record, Retiring, Trigger, Work};
use super::request::{Clock, Goal, Now, RotationRequest, RunEnv, RunRequest};
use super::token::TokenId;
use super::view::View;

/// Everything that a decision may depend on.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What the run was started with, and the goal that is left.
    pub request: &'a RunRequest,
    /// The journal document; a blank one if there is none.
    pub record: &'a Record,
    /// There is no document yet.
    pub is_new: bool,
    pub view: &'a View,
    pub progress: &'a Progress,
    pub journal_version: u64,
    /// It was read or written in this run.
    pub journal_is_fresh: bool,
    /// A failed call that has not been dealt with.
    pub error: Option<&'a CallError>,
    pub now: Now,
}

/// `Err` is the step to take now, and the only encoding of "do this first": `?` passes it on. `Ok` = nothing is to be done here, and what was
/// found.
pub type Decision<T> = Result<T, Step>;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Do(Command),
    Write(Box<Change>),
    /// Rotate in this run.
    Rotate(RotationRequest),
}

/// A write of the journal document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub record: Record,
    /// The events to emit once it is acknowledged.
    pub reports: Vec<Report>,
    pub then: AfterWrite,
}

/// What follows an acknowledged journal write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AfterWrite {
    /// Continue with what is known.
    Continue,
    /// Continue, but read the secret again.
    Reread,
    /// The secret is at another place: nothing that was read of it holds.
    Relocated,
    /// The goal is reached; continue with the rest. The version that the store replaced is read again: a deletion in between must be
    /// reported.
    GoalReached(Option<u64>),
    Attempt(Order),
    /// The candidate continues against a new base.
    Candidate(Box<Candidate>),
    /// The token was proven to be this secret's own, and the claim to end it is taken.
    Proven(TokenId),
    Gone(TokenId),
    Finish(RunResult),
}

/// How far the work under the claim has come. It is in memory only: a run that dies or loses its claim loses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    pub order: Option<Order>,
    pub mint: MintState,
    pub candidate: Option<Candidate>,
    /// The token that was proven to be this secret's own, under the claim to end it.
    pub proven: Option<TokenId>,
    /// How many mints this run sent.
    pub mints: u32,
    /// The error of the last one whose outcome is unclear.
    pub mint_error: Option<CallError>,
    /// This run had the claim to bring this token back: what it sent may have taken effect.
    pub undo_begun: Option<TokenId>,
    /// After a commit: the version whose deletion in between must be reported.
    pub replaced_version: Option<u64>,
}

/// The mint of the attempt under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MintState {
    /// Not sent, or known to have failed without an effect.
    #[default]
    NotSent,
    /// Sent, and the outcome is unknown; or the token exists.
    Unknown,
    /// The environment refused: nothing was made.
    Rejected,
}

impl Progress {
    /// The claim was lost or released: what was held under it is void.
    pub fn reset(&mut self) {
        self.order = None;
        self.mint = MintState::NotSent;
        self.candidate = None;
        self.proven = None;
    }
}

impl<'a> Context<'a> {
    pub fn plan(&self) -> &'a Plan {
        &self.request.plan
    }

    pub fn env(&self) -> &'a RunEnv {
        &self.request.env
    }

    /// Where the secret is by the journal, so that a moved secret's retirements look at the old place.
    pub fn place(&self) -> &'a Coordinates {
        &self.record.coordinates
    }

    /// A copy of the document to change and write.
    pub fn draft(&self) -> Record {
        self.record.clone()
    }

    /// A write of the document as `change` leaves it.
    pub fn write(&self, change: impl FnOnce(&mut Record)) -> Change {
        let mut record = self.draft();
        change(&mut record);
        Change::new(record)
    }

    /// A write of the document with this change of the entry of a retiring token.
    pub fn write_entry(&self, id: &TokenId, change: impl FnOnce(&mut Retiring)) -> Change {
        self.write(|record| {
            if let Some(entry) = record.retiring_mut(id) {
                change(entry);
            }
        })
    }

    /// A write that takes the claim. What was read before is read again under it.
    pub fn take_claim(&self, work: Work) -> Change {
        let write = self.write(|record| record.claim = Some(self.claim(work)));
        write.then(AfterWrite::Reread)
    }

    /// A write that releases the claim.
    pub fn release(&self) -> Change {
        self.write(|record| record.claim = None)
    }

    pub fn claim(&self, work: Work) -> Claim {
        Claim {
            work,
            holder: self.request.holder.instance.clone(),
            boot: self.request.holder.boot.clone(),
            nonce: self.request.id.clone(),
            since: self.now.wall,
            renewed: 0,
        }
    }

    /// A person has confirmed, in the command that started this run, the rights that only the journal knows.
    pub fn accepts_recorded_rights(&self) -> bool {
        match &self.request.goal {
            Goal::Rotate(request) => request.accept_recorded_rights,
            Goal::Revoke(request) => request.accept_recorded_rights,
            _ => false,
        }
    }

    /// The due time and the trigger of the rotation that is wanted.
    pub fn wanted(&self) -> (Option<Timestamp>, Trigger) {
        match self.request.rotation() {
            // Whatever else is due: a person asked for it.
            request if self.owes_replacement() => {
                let due = request.and_then(|request| request.due);
                (due.filter(|due| self.is_unserved(*due)), Trigger::Command)
            }
            Some(request) => (request.due, request.trigger),
            None => (None, Trigger::Recovery),
        }
    }

    /// No rotation has served this due time.
    pub fn is_unserved(&self, due: Timestamp) -> bool {
        self.record.last_due.is_none_or(|last| last < due)
    }

    /// A token was revoked, and the secret does not have another one yet. After that only its end is left.
    pub fn owes_replacement(&self) -> bool {
        let record = self.record;
        let order = record.revoking.as_ref();
        let entry = order.map(|order| record.retiring(&order.token));
        entry.is_some_and(|entry| entry.is_none_or(|entry| entry.revoked.is_none()))
    }

    /// The due time and the trigger of the claimed rotation; without one, of the wanted one.
    pub fn claimed_or_wanted(&self) -> (Option<Timestamp>, Trigger) {
        match self.work() {
            Some(Work::Rotate { due, trigger, .. }) => (*due, *trigger),
            _ => self.wanted(),
        }
    }

    /// The claimed rotation, or the wanted one, with this attempt.
    pub fn rotation(&self, attempt: Option<Attempt>) -> Work {
        let (due, trigger) = self.claimed_or_wanted();
        Work::Rotate {
            due,
            trigger,
            attempt,
        }
    }

    pub fn work(&self) -> Option<&'a Work> {
        self.record.claim.as_ref().map(|claim| &claim.work)
    }

    /// This run has the claim.
    pub fn is_claimed(&self) -> bool {
        self.record.claim.is_some()
    }

    /// The attempt under the claim may have left a token: it was or may have been minted, and was not deleted again.
    pub fn token_may_exist(&self) -> bool {
        let candidate = self.progress.candidate.as_ref();
        let identified = candidate.and_then(|candidate| candidate.identified.as_ref());
        let deleted = identified
            .is_some_and(|id| self.view.outcome_of(&TokenAction::Delete, id) == Some(&Ok(())));
        let minted = candidate.is_some() || self.progress.mint == MintState::Unknown;
        minted && !deleted
    }

    /// The secret left the configuration.
    pub fn is_released(&self) -> bool {
        self.request.goal == Goal::Release
    }

    /// The pause that keeps this run from beginning anything. What was begun under its own claim is finished, and a secret that left the
    /// configuration, which nobody could resume, is finished in any case.
    pub fn pause(&self) -> Option<&'a Pause> {
        let own = self.record.claim.as_ref();
        let own = own.is_some_and(|claim| claim.nonce == self.request.id);
        let pause = self.record.paused(self.now.wall);
        pause.filter(|_| !own && !self.is_released())
    }

    /// The secret is switched on and not paused; a revoked token is replaced in any case.
    pub fn may_begin(&self) -> bool {
        let on = self.env().enabled && self.pause().is_none();
        on || self.owes_replacement()
    }

    /// Why nothing may be begun, as a sentence for the person who asked for it.
    pub fn held_back(&self) -> Option<String> {
        let name = &self.plan().name;
        if !self.env().enabled {
            return Some(format!(
                "{name} is switched off (`enabled = false`), so nothing is changed; switch it on first"
            ));
        }
        let pause = self.pause()?;
        Some(format!(
            "{name} is {pause}; nothing is changed. Run `dtrotate resume {name}` first"
        ))
    }

    /// The configuration names another place, field, environment or URL than the document.
    pub fn is_relocated(&self) -> bool {
        !self.record.coordinates.same_place(&self.plan().coordinates)
    }

    /// The retirement concerns the environment that this run talks to.
    pub fn belongs_here(&self, entry: &Retiring) -> bool {
        entry.base_url == self.plan().coordinates.base_url && !entry.is_newer()
    }

    /// The local time may be compared with times that were written down.
    pub fn clock_is_trusted(&self) -> bool {
        self.env().clock == Clock::Agrees
    }

    /// Another secret, at another place, whose document has this identity.
    pub fn other_with_epoch(&self, epoch: &Epoch) -> Option<&'a str> {
        let plans = self.env().epochs.as_ref()?.get(epoch)?;
        let own = self.plan();
        let other = plans
            .iter()
            .find(|plan| plan.name != own.name && !plan.coordinates.same_place(&own.coordinates))?;
        Some(&other.name)
    }
}

impl Change {
    /// A write of `record`, without an event; the run continues with what is known.
    pub fn new(record: Record) -> Self {
        Change {
            record,
            reports: vec![],
            then: AfterWrite::Continue,
        }
    }

    pub fn report(self, report: Report) -> Self {
        self.reports([report])
    }

    pub fn reports(mut self, reports: impl IntoIterator<Item = Report>) -> Self {
        self.reports.extend(reports);
        self
    }

    pub fn then(self, then: AfterWrite) -> Self {
        Change { then, ..self }
    }

    /// Ends the run after it.
    pub fn finish(self, result: RunResult) -> Self {
        self.then(AfterWrite::Finish(result))
    }
}

impl Step {
    pub fn finish(result: RunResult) -> Step {
        Step::Do(Command::Finish(result))
    }

    /// Ends the run: nothing is left to do.
    pub fn done() -> Step {
        Step::finish(RunResult::Done { wake: None })
    }

    /// Ends the run: what a person asked for cannot be done.
    pub fn refuse(why: impl Into<String>) -> Step {
        Step::finish(RunResult::Refused(why.into()))
    }
}

impl From<Command> for Step {
    fn from(command: Command) -> Self {
        Step::Do(command)
    }
}

impl From<Change> for Step {
    fn from(change: Change) -> Self {
        Step::Write(Box::new(change))
    }
}
