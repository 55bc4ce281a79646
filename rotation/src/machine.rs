//! The machine of one run: whose claim it is, which work is next, and the next command. Pure: [`Run::step`] names the next command,
//! [`Run::learn`] takes its outcome. Nothing here has an effect, and recovery is the same code as normal running: whatever another holder
//! left behind is just a state of the journal.

use std::sync::Arc;
use std::time::Duration;

use super::candidate::{Candidate, Ordered};
use super::command::{Command, Outcome, RunResult, SecretSnapshot, Source};
use super::context::{AfterWrite, Change, Context, MintState, Progress, Step};
use super::error::{CallError, ErrorKind};
use super::event::{EventName, Level, Report};
use super::marker::Marker;
use super::order;
use super::plan::{Coordinates, Plan, RetirementPolicy};
use super::record::{Record, Work};
use super::request::{ClaimObservation, Goal, JournalSnapshot, Now, RunRequest};
use super::view::{Decision, Effect, View};

/// A run that loses this many check-and-sets on the journal leaves the secret to the others for now.
const CONFLICTS: u32 = 8;
/// A run that takes more steps than this does not come to rest by itself: a fault of dtrotate. The longest useful run works off a listing of
/// thousands of tokens in slices.
const STEPS: u32 = 20_000;

/// One run over one secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Shared, like the document and the write under way: a search clones a run at every step.
    request: Arc<RunRequest>,
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
    /// The journal write under way.
    pending: Option<Arc<Change>>,
    reports: Vec<Report>,
    end: Option<RunResult>,
}

impl Run {
    /// A run that knows nothing yet but its request.
    pub fn new(mut request: RunRequest) -> Self {
        let view = View::new(request.known.listing.take());
        let journal = request.known.journal.take().map(Arc::new);
        Run {
            request: Arc::new(request),
            journal,
            view,
            progress: Progress::default(),
            journal_is_fresh: false,
            conflicts: 0,
            steps: 0,
            claim_sent: Duration::ZERO,
            error: None,
            pending: None,
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

    /// What to rotate and how.
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

    /// Drops what only people read, so that a search finds equal states equal.
    #[doc(hidden)]
    pub fn forget_history(&mut self) {
        self.steps = 0;
        // A shared document was already known at the last call.
        let known = self.journal.as_mut().and_then(Arc::get_mut);
        if let Some(record) = known.and_then(|known| known.record.as_mut()) {
            record.forget_history();
        }
    }

    /// The next command.
    pub fn step(&mut self, now: Now) -> Command {
        self.steps += 1;
        if self.steps > STEPS && self.end.is_none() {
            let message = format!(
                "the run over {} did not come to rest within {STEPS} steps; this is a fault of dtrotate",
                self.request.plan.name
            );
            self.reports
                .push(Report::new(EventName::InternalError, message.clone()));
            self.end = Some(RunResult::InternalError(message));
        }
        let command = loop {
            match self.decide(now).unwrap_or_else(Step::Do) {
                Step::Do(command) => break command,
                Step::Write(change) => break self.write(*change),
                Step::Advance(candidate) => self.progress.candidate = Some(*candidate),
                Step::Rotate(request) => {
                    Arc::make_mut(&mut self.request).goal = Goal::Rotate(request);
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

    fn decide(&self, now: Now) -> Decision<Step> {
        if let Some(result) = &self.end {
            return Ok(Step::finish(result.clone()));
        }
        let Some(known) = self.journal() else {
            return Err(Command::ReadJournal);
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
    fn write(&mut self, mut change: Change) -> Command {
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
        let change = Change {
            record,
            reports: vec![],
            then: AfterWrite::Continue,
        };
        self.write(change)
    }

    /// Takes the outcome of `command`.
    pub fn learn(&mut self, command: &Command, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::Journal(read) => self.journal_read(read, now),
            Outcome::Written(written) => self.journal_written(written),
            Outcome::Minted(minted) => self.minted(minted, now),
            outcome => {
                if let Outcome::Verified(Ok(info)) = &outcome {
                    self.report_verified(command, info);
                }
                if let Outcome::Stored(stored) = &outcome {
                    self.view.void(Effect::Secret);
                    self.report_stored(stored);
                }
                if let Some(candidate) = &mut self.progress.candidate
                    && let Some(error) = candidate.learn(&outcome, now)
                {
                    self.error = Some(error);
                }
                if let Some(error) = self.view.learn(command, outcome) {
                    self.error = Some(error);
                }
                self.report_replaced(command);
            }
        }
    }

    fn report_verified(&mut self, command: &Command, info: &super::token::TokenInfo) {
        if *command == Command::Verify(Source::Minted) {
            let report = Report::new(EventName::TokenVerified, "the new token works");
            self.reports.push(report.token(&info.id));
        }
    }

    fn report_stored(&mut self, stored: &Result<u64, CallError>) {
        let candidate = self.progress.candidate.as_ref();
        if let (Ok(version), Some(candidate)) = (stored, candidate) {
            let message = format!("the new value is version {version}");
            let mut report = Report::new(EventName::SecretStored, message);
            report.token_id = candidate.value.id.clone();
            self.reports.push(report);
        }
    }

    /// The version that a store replaced was read again.
    fn report_replaced(&mut self, command: &Command) {
        let Some(version) = self.progress.replaced_version else {
            return;
        };
        let read = match command {
            Command::ReadVersion(read) if *read == version => self.view.known_version(version),
            _ => None,
        };
        if let Some(SecretSnapshot::Deleted { .. }) = read {
            let message = format!(
                "version {version} of {} was deleted during the rotation and the new version restored the secret; delete it again if the \
                 deletion was intended",
                self.place()
            );
            let report = Report::new(EventName::SecretChangedElsewhere, message);
            self.reports.push(report.at(Level::Error));
        }
        if read.is_some() {
            self.progress.replaced_version = None;
        }
    }

    fn minted(&mut self, minted: Result<super::command::ValueRef, CallError>, now: Now) {
        self.progress.mints += 1;
        match minted {
            Ok(value) => {
                let mut report = Report::new(EventName::TokenMinted, "created a new token");
                report.token_id = value.id.clone();
                self.reports.push(report);
                self.progress.mint = MintState::Unknown;
                let ordered = self.ordered();
                let window = self.request.plan.verify_window();
                self.progress.candidate =
                    Some(Candidate::new(Source::Minted, value, ordered, window, now));
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

    /// What was ordered with the attempt under the claim.
    fn ordered(&self) -> Option<Ordered> {
        let record = self.journal()?.record.as_deref()?;
        let attempt = record.claim.as_ref()?.attempt()?;
        let template = self.progress.template.as_ref()?;
        Some(Ordered {
            marker: Marker {
                epoch: record.epoch.clone(),
                attempt: attempt.n,
            },
            base: template.name_base.clone(),
            scopes: template.scopes.clone(),
        })
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
            (Err(error), _) if error.kind == ErrorKind::Conflict => {
                // Someone else wrote: whatever was known or held is void, and an ordinary lost claim is no warning.
                self.conflicts += 1;
                self.journal = None;
                self.view.void(Effect::All);
                self.progress.reset();
                if self.conflicts >= CONFLICTS {
                    self.end = Some(RunResult::Retry(error));
                }
            }
            (Err(error), _) => self.end = Some(RunResult::Retry(error)),
            (Ok(_), None) => {}
        }
    }

    fn acknowledged(&mut self, version: u64, change: Change) {
        self.journal_is_fresh = true;
        self.error = None;
        let claim = change.record.claim.clone();
        self.journal = Some(Arc::new(JournalSnapshot {
            cas: version,
            record: Some(Box::new(change.record)),
        }));
        self.reports.extend(change.reports);
        self.view.void(Effect::Journal);
        if let Some(Work::Undo { id, .. }) = claim.as_ref().map(|claim| &claim.work) {
            self.progress.undo_begun = Some(id.clone());
        }
        // What is held belongs to the claim.
        let holds = claim.as_ref().is_some_and(|claim| match &claim.work {
            Work::Rotate { attempt, .. } => attempt.is_some(),
            Work::Cleanup | Work::Newer(_) => false,
            Work::Undo { .. } | Work::Disable { .. } | Work::Delete { .. } => true,
        });
        if !holds {
            self.progress.reset();
        }
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
            AfterWrite::Attempt(template) => {
                self.progress.reset();
                self.progress.template = Some(template);
            }
            AfterWrite::Candidate(candidate) => self.progress.candidate = Some(*candidate),
            AfterWrite::Proven(id) => self.progress.proven = Some(id),
            AfterWrite::Gone(id) => self.view.forget_listed(&id),
            AfterWrite::Finish(result) => self.end = Some(result),
        }
    }
}
