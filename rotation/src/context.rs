//! What a decision is made from, and what it can be: the vocabulary between the machine and the work.

use std::time::Duration;

use super::candidate::Candidate;
use super::command::{Command, RunResult};
use super::error::CallError;
use super::event::Report;
use super::marker::Epoch;
use super::plan::{Coordinates, Plan};
use super::record::{Claim, Record, Trigger, Work};
use super::request::{Clock, Goal, Now, RotationRequest, RunRequest};
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
    /// What is known.
    pub view: &'a View,
    /// How far the work under the claim has come.
    pub progress: &'a Progress,
    /// The version of the document.
    pub journal_version: u64,
    /// It was read or written in this run.
    pub journal_is_fresh: bool,
    /// A failed call that has not been dealt with.
    pub error: Option<&'a CallError>,
    /// The time.
    pub now: Now,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Carry this out.
    Do(Command),
    /// Write the journal document.
    Write(Box<Change>),
    /// The candidate is further without a call.
    Advance(Box<Candidate>),
    /// Rotate in this run.
    Rotate(RotationRequest),
}

/// A write of the journal document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The document.
    pub record: Record,
    /// The events to emit once it is acknowledged.
    pub reports: Vec<Report>,
    /// What follows.
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
    /// The goal is reached; continue with the rest. If the store replaced this version, it is read again: a deletion in between must be reported.
    GoalReached(Option<u64>),
    /// An attempt begins.
    Attempt(Template),
    /// The candidate continues against a new base.
    Candidate(Box<Candidate>),
    /// The token was proven to be this secret's own, and the claim to end it is taken.
    Proven(TokenId),
    /// The token is gone.
    Gone(TokenId),
    /// The run is over.
    Finish(RunResult),
}

/// How far the work under the claim has come. It is in memory only: a run that dies or loses its claim loses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    /// What the new token is to be like.
    pub template: Option<Template>,
    /// The mint of the attempt.
    pub mint: MintState,
    /// The value that is to become the current one.
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
    /// The minted token was deleted again: nothing is left of the attempt.
    Discarded,
}

/// What the new token is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// The name without marker.
    pub name_base: String,
    /// The rights.
    pub scopes: Vec<String>,
    /// How long it lives; none = without an end.
    pub lifetime: Option<Duration>,
    /// The fingerprint of the value that it replaces, to see whether our field changed.
    pub old_fingerprint: u64,
    /// The old token was found when it was looked up.
    pub old_known: bool,
}

impl Progress {
    /// The claim was lost or released: what was held under it is void.
    pub fn reset(&mut self) {
        self.template = None;
        self.mint = MintState::NotSent;
        self.candidate = None;
        self.proven = None;
    }
}

impl<'a> Context<'a> {
    /// What to rotate and how.
    pub fn plan(&self) -> &'a Plan {
        &self.request.plan
    }

    /// Where the secret is by the journal, so that a moved secret's retirements look at the old place.
    pub fn place(&self) -> &'a Coordinates {
        &self.record.coordinates
    }

    /// A copy of the document to change and write.
    pub fn draft(&self) -> Record {
        self.record.clone()
    }

    /// A claim of this run.
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

    /// The due time and the trigger of the rotation that is wanted.
    pub fn wanted(&self) -> (Option<jiff::Timestamp>, Trigger) {
        match self.request.rotation() {
            Some(request) => (request.due, request.trigger),
            None => (None, Trigger::Recovery),
        }
    }

    /// A claim of this run stands.
    pub fn is_claimed(&self) -> bool {
        self.record.claim.is_some()
    }

    /// The secret left the configuration.
    pub fn is_released(&self) -> bool {
        self.request.goal == Goal::Release
    }

    /// The configuration names another place, field, environment or URL than the document.
    pub fn is_relocated(&self) -> bool {
        !self.record.coordinates.same_place(&self.plan().coordinates)
    }

    /// The local time may be compared with times that were written down.
    pub fn clock_is_trusted(&self) -> bool {
        self.request.env.clock == Clock::Agrees
    }

    /// Another secret, at another place, whose document has this identity.
    pub fn other_with_epoch(&self, epoch: &Epoch) -> Option<&'a str> {
        let plans = self.request.env.epochs.as_ref()?.get(epoch)?;
        let own = self.plan();
        let other = plans
            .iter()
            .find(|plan| plan.name != own.name && !plan.coordinates.same_place(&own.coordinates))?;
        Some(&other.name)
    }

    /// A store with `cas = base` can no longer be accepted. Without history versions are fingerprints, and past means different.
    pub fn is_past(&self, version: u64, base: u64) -> bool {
        if self.request.env.history {
            version > base
        } else {
            version != base
        }
    }
}

impl Step {
    /// Writes `record`, emits `reports`, then continues as `then` says.
    pub fn write(record: Record, reports: Vec<Report>, then: AfterWrite) -> Step {
        Step::Write(Box::new(Change {
            record,
            reports,
            then,
        }))
    }

    /// Ends the run.
    pub fn finish(result: RunResult) -> Step {
        Step::Do(Command::Finish(result))
    }

    /// Ends the run: what a person asked for cannot be done.
    pub fn refuse(why: impl Into<String>) -> Step {
        Step::finish(RunResult::Refused(why.into()))
    }
}
