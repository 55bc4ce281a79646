//! The machine of one run: whose claim it is, which work is next, and the next command. Pure: [`Run::step`] names the next command,
//! [`Run::learn`] takes its outcome. Nothing here has an effect, and recovery is the same code as normal running: whatever another holder
//! left behind is just a state of the journal.

use std::sync::Arc;
use std::time::Duration;

use super::candidate::{self, Candidate};
use super::command::{Command, Outcome, RunResult, SecretSnapshot, Source, ValueRef};
use super::context::{AfterWrite, Change, Context, MintState, Progress, Step};
use super::error::{CallError, ErrorKind, Service};
use super::event::{EventName, Level, Report};
use super::order;
use super::plan::{Coordinates, Plan, RetirementPolicy};
use super::record::{Record, Work};
use super::request::{ClaimObservation, Goal, JournalSnapshot, Now, RunRequest};
use super::transition;
use super::view::{Effect, View};

/// A run that loses this many check-and-sets on the journal leaves the secret to the others for now.
const CONFLICTS: u32 = 8;
/// A run that takes more steps than this does not end: a fault of dtrotate. The longest useful run works off a listing of
/// thousands of tokens in slices.
const STEPS: u32 = 20_000;

/// One run over one secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Shared, like the document and the write under way: a search clones a run at every step.
    request: Arc<RunRequest>,
    /// The goal that the run was started with, while it carries out a rotation that it decided on itself.
    started_with: Option<Goal>,
    journal: Option<Arc<JournalSnapshot>>,
    view: View,
    progress: Progress,
    /// The journal was read or written in this run.
    journal_is_fresh: bool,
    conflicts: u32,
    steps: u32,
    /// When our last journal write was sent.
    claim_sent: Duration,
    /// A failed call that has not been dealt with.
    error: Option<CallError>,
    pending: Option<Arc<Change>>,
    /// A write under our claim that was rejected, and the document that it was to replace.
    rejected: Option<(Arc<JournalSnapshot>, Arc<Change>)>,
    /// The same write, on a document in which only pause or announcement changed.
    resend: Option<Arc<Change>>,
    reports: Vec<Report>,
    end: Option<RunResult>,
}

impl Run {
    /// A run that knows nothing yet but its request.
    pub fn new(mut request: RunRequest) -> Self {
        let proof = request.env.capabilities.proof;
        let view = View::new(request.known.listing.take(), proof);
        let journal = request.known.journal.take().map(Arc::new);
        Run {
            request: Arc::new(request),
            started_with: None,
            journal,
            view,
            progress: Progress::default(),
            journal_is_fresh: false,
            conflicts: 0,
            steps: 0,
            claim_sent: Duration::ZERO,
            error: None,
            pending: None,
            rejected: None,
            resend: None,
            reports: Vec::new(),
            end: None,
        }
    }

    /// Events since the last call, in order.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// The journal document as this run knows it.
    pub fn journal(&self) -> Option<&JournalSnapshot> {
        self.journal.as_deref()
    }

    /// The settings of the secret that this run works on.
    pub fn plan(&self) -> &Plan {
        &self.request.plan
    }

    /// Where the secret is by the journal, so that a moved secret's retirements look at the old place.
    pub fn place(&self) -> &Coordinates {
        match self.journal().and_then(|known| known.record.as_deref()) {
            Some(record) => &record.coordinates,
            None => &self.request.plan.coordinates,
        }
    }

    /// Drops what only people read, of a document as `forget` says, so that a search finds equal states equal.
    #[doc(hidden)]
    pub fn forget_history(&mut self, forget: impl FnOnce(&mut Record)) {
        self.steps = 0;
        // A shared document was already known at the last call.
        let known = self.journal.as_mut().and_then(Arc::get_mut);
        if let Some(record) = known.and_then(|known| known.record.as_mut()) {
            forget(record);
        }
    }

    /// The next command.
    pub fn step(&mut self, now: Now) -> Command {
        self.steps += 1;
        if self.steps > STEPS && self.end.is_none() {
            let message = format!(
                "internal error: the run over {} did not end within {STEPS} steps; please report it",
                self.request.plan.name
            );
            self.reports
                .push(Report::new(EventName::InternalError, message.clone()));
            self.end = Some(RunResult::InternalError(message));
        }
        let command = loop {
            if let Some(change) = self.resend.take() {
                break self.write(Arc::unwrap_or_clone(change), now);
            }
            match self.decide(now) {
                Step::Do(command) => break command,
                Step::Write(change) => break self.write(*change, now),
                Step::Rotate(request) => {
                    let goal = &mut Arc::make_mut(&mut self.request).goal;
                    let former = std::mem::replace(goal, Goal::Rotate(request));
                    self.started_with.get_or_insert(former);
                }
            }
        };
        let command = self.renew_claim_before(command, now);
        match &command {
            Command::WriteJournal { .. } => self.claim_sent = now.mono,
            Command::Finish(result) => self.end = Some(result.clone()),
            _ => {}
        }
        command
    }

    fn decide(&self, now: Now) -> Step {
        if let Some(result) = &self.end {
            return Step::finish(result.clone());
        }
        let Some(known) = self.journal() else {
            return Command::ReadJournal.into();
        };
        let blank;
        let record = match &known.record {
            Some(record) => &**record,
            None => {
                let plan = &self.request.plan;
                let epoch = self.request.env.fresh_epoch.clone();
                blank = Record::blank(&plan.name, epoch, plan.coordinates.clone(), now.wall);
                &blank
            }
        };
        let cx = Context {
            request: &self.request,
            record,
            is_new: known.record.is_none(),
            view: &self.view,
            progress: &self.progress,
            journal_version: known.cas,
            journal_is_fresh: self.journal_is_fresh,
            error: self.error.as_ref(),
            now,
        };
        order::next(&cx)
    }

    /// Writes the document of `change` and stamps what every write stamps.
    fn write(&mut self, mut change: Change, now: Now) -> Command {
        change.record.writer = Some(self.request.holder.writer(now.wall));
        if self.request.goal != Goal::Release {
            change.record.policy = Some(RetirementPolicy::of(&self.request.plan));
        }
        let record = Box::new(change.record.clone());
        self.pending = Some(Arc::new(change));
        let cas = self.journal().map_or(0, |known| known.cas);
        Command::WriteJournal { cas, record }
    }

    /// Under a claim, nothing is sent that has an effect unless the claim was written or renewed a short while ago: a holder that was
    /// suspended finds out here that it lost its claim.
    fn renew_claim_before(&mut self, command: Command, now: Now) -> Command {
        let has_effect = matches!(
            command,
            Command::Mint(_)
                | Command::Verify(_)
                | Command::ProveManager(_)
                | Command::Store { .. }
                | Command::Fence { .. }
                | Command::Change(..)
        );
        let limit = self.request.plan.claim_timeout / 3;
        if !has_effect || now.mono.saturating_sub(self.claim_sent) <= limit {
            return command;
        }
        let Some(record) = self.journal().and_then(|known| known.record.as_deref()) else {
            return command;
        };
        let mut record = record.clone();
        let Some(claim) = &mut record.claim else {
            return command;
        };
        claim.renewed = claim.renewed.wrapping_add(1);
        self.write(Change::new(record), now)
    }

    /// Takes the outcome of `command`.
    pub fn learn(&mut self, command: &Command, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::Journal(read) => self.journal_read(read, now),
            Outcome::Written(written) => self.journal_written(written),
            Outcome::Minted(minted) => self.minted(minted, now),
            // As any call that fails for now: the claim is given back.
            Outcome::Stopped => self.error = Some(stopped()),
            outcome => {
                let record = self.journal().and_then(|known| known.record.as_deref());
                let report = candidate::report(
                    command,
                    &outcome,
                    self.progress.candidate.as_ref(),
                    self.request.env.capabilities.proof,
                    record.and_then(|record| record.current.as_ref()),
                );
                self.reports.extend(report);
                if let Some(candidate) = &mut self.progress.candidate
                    && let Err(error) = candidate.learn(&outcome, now)
                {
                    self.error = Some(error);
                }
                if let Err(error) = self.view.learn(command, outcome) {
                    self.error = Some(error);
                }
                self.report_replaced(command);
            }
        }
    }

    /// The version that a store replaced was read again.
    fn report_replaced(&mut self, command: &Command) {
        let replaced = self.progress.replaced_version;
        let Some(version) = replaced.filter(|it| *command == Command::ReadVersion(*it)) else {
            return;
        };
        let Some(read) = self.view.known_version(version) else {
            return;
        };
        self.progress.replaced_version = None;
        if let SecretSnapshot::Deleted { .. } = read {
            let message = format!(
                "version {version} of {} was deleted during the rotation and the new version restored the secret; delete it again if the \
                 deletion was intended",
                self.place()
            );
            let report = Report::new(EventName::SecretChangedElsewhere, message);
            self.reports.push(report.at(Level::Error));
        }
    }

    fn minted(&mut self, minted: Result<ValueRef, CallError>, now: Now) {
        self.progress.mints += 1;
        match minted {
            Ok(value) => {
                let report = Report::new(EventName::TokenMinted, "created a new token");
                self.reports.push(report.token(value.id.as_ref()));
                self.progress.mint = MintState::Unknown;
                let order = self.progress.order.clone();
                let window = self.plan().verify_window(&self.request.env.capabilities);
                self.progress.candidate =
                    Some(Candidate::new(Source::Minted, value, order, window, now));
            }
            Err(error) if error.kind == ErrorKind::Unclear => {
                self.progress.mint = MintState::Unknown;
                self.progress.mint_error = Some(error);
            }
            Err(error) => {
                self.progress.mint = match error.kind {
                    ErrorKind::Refused => MintState::Rejected,
                    _ => MintState::NotSent,
                };
                self.error = Some(error);
            }
        }
    }

    fn journal_read(&mut self, read: Result<Result<JournalSnapshot, String>, CallError>, now: Now) {
        match read {
            Ok(Ok(snapshot)) => {
                let observation = self.request.known.observation;
                if observation.is_none_or(|it| it.version != snapshot.cas) {
                    Arc::make_mut(&mut self.request).known.observation = Some(ClaimObservation {
                        version: snapshot.cas,
                        since: now.mono,
                    });
                }
                self.journal_is_fresh = true;
                let rejected = self.rejected.take();
                let resend = rejected
                    .as_ref()
                    .and_then(|(base, change)| transition::rebase(base, change, &snapshot));
                if rejected.is_some() && resend.is_none() {
                    self.forget_all();
                }
                self.resend = resend.map(Arc::new);
                if !self.holds_claim(&snapshot)
                    && let Some(goal) = self.started_with.take()
                {
                    // Someone else may have done meanwhile what this run decided to do.
                    Arc::make_mut(&mut self.request).goal = goal;
                }
                self.journal = Some(Arc::new(snapshot));
            }
            Ok(Err(why)) => self.end = Some(RunResult::JournalUnreadable(why)),
            Err(error) => self.end = Some(RunResult::Retry(error)),
        }
    }

    fn journal_written(&mut self, written: Result<u64, CallError>) {
        let pending = self.pending.take();
        match (written, pending) {
            (Ok(version), Some(change)) => self.acknowledged(version, Arc::unwrap_or_clone(change)),
            (Err(error), pending) if error.kind == ErrorKind::Conflict => {
                // Someone else wrote: whatever was known or held is void, and an ordinary lost claim needs no warning. But whoever has the
                // claim may find that only pause or announcement was changed.
                self.conflicts += 1;
                let base = self.journal.take();
                self.rejected = base.zip(pending).filter(|(base, _)| self.holds_claim(base));
                if self.rejected.is_none() {
                    self.forget_all();
                }
                if self.conflicts >= CONFLICTS {
                    self.end = Some(RunResult::Retry(error));
                }
            }
            (Err(error), _) => self.end = Some(RunResult::Retry(error)),
            (Ok(_), None) => {}
        }
    }

    /// Whatever was known of the secret or held under a claim is void.
    fn forget_all(&mut self) {
        self.view.void(Effect::All);
        self.progress.reset();
    }

    /// The claim of this document is this run's.
    fn holds_claim(&self, known: &JournalSnapshot) -> bool {
        let mut claims = known.record.iter().filter_map(|it| it.claim.as_ref());
        claims.any(|claim| claim.nonce == self.request.id)
    }

    fn acknowledged(&mut self, version: u64, change: Change) {
        self.journal_is_fresh = true;
        self.error = None;
        self.reports.extend(change.reports);
        self.view.void(Effect::Journal);
        // What is held belongs to the claim.
        match change.record.claim.as_ref().map(|claim| &claim.work) {
            Some(Work::Undo { id, .. }) => self.progress.undo_begun = Some(id.clone()),
            Some(Work::Disable { .. } | Work::Redate { .. } | Work::Delete { .. }) => {}
            Some(Work::Rotate { attempt, .. }) if attempt.is_some() => {}
            Some(Work::Rotate { .. } | Work::Cleanup | Work::Newer(_)) | None => {
                self.progress.reset();
            }
        }
        self.journal = Some(Arc::new(JournalSnapshot {
            cas: version,
            record: Some(Box::new(change.record)),
        }));
        match change.then {
            AfterWrite::Continue => {}
            AfterWrite::Reread => self.view.void(Effect::All),
            AfterWrite::Relocated => self.view.relocate(),
            AfterWrite::GoalReached(replaced) => {
                if let Goal::Rotate(_) = self.request.goal {
                    Arc::make_mut(&mut self.request).goal = Goal::Settle;
                }
                self.view.void(Effect::All);
                if let Some(version) = replaced {
                    self.view.reread_version(version);
                }
                self.progress.replaced_version = replaced;
            }
            AfterWrite::Attempt(order) => {
                self.progress.reset();
                self.progress.order = Some(order);
            }
            AfterWrite::Candidate(candidate) => self.progress.candidate = Some(*candidate),
            AfterWrite::Proven(id) => self.progress.proven = Some(id),
            AfterWrite::Gone(id) => self.view.forget_listed(&id),
            AfterWrite::Finish(result) => self.end = Some(result),
        }
    }
}

fn stopped() -> CallError {
    let what = "it was stopped before it was done; a token that it created is found and deleted";
    CallError::new(Service::Dynatrace, ErrorKind::Transient, what)
}
