//! The machine of one run: whose claim it is, which work is next, and the next command. Pure: [`Run::step`] names the next command,
//! [`Run::learn`] takes its outcome. Nothing here has an effect, and recovery is the same code as normal running: whatever another holder
//! left behind is just a state of the journal.
//!
//! The order of work: resolve whose claim stands; continue with our own; rotate if wanted; then clean up (open attempts, fence first); then
//! retire (disable, delete). Mint and store always come before any clean-up.

use std::time::Duration;

use jiff::Timestamp;

use super::candidate::{Candidate, Ordered};
use super::command::{Command, Outcome, RunResult, SecretSnapshot, Source};
use super::context::{AfterWrite, Change, Context, MintState, Progress, Step};
use super::error::{CallError, ErrorKind, Service};
use super::event::{EventName, Level, Report};
use super::failure;
use super::marker::Marker;
use super::observe::belongs_here;
use super::plan::{Coordinates, Plan, RetirementPolicy};
use super::plausibility::implausible;
use super::record::{Claim, Reason, Record, Work};
use super::request::{ClaimObservation, Clock, Goal, JournalSnapshot, Now, RunRequest};
use super::takeover;
use super::view::{Decision, Effect, View};
use super::work::{adopt, cleanup, maintain, relocate, retire, rotate, store, undo};

/// What could not be settled now (a deleted secret that cannot be fenced, clocks that disagree) is examined again after this.
const EXAMINE_AGAIN: Duration = Duration::from_secs(30);
/// A run that loses this many check-and-sets on the journal leaves the secret to the others for now.
const CONFLICTS: u32 = 8;
/// A run that takes more steps than this does not come to rest by itself: a fault of dtrotate. The longest useful run works off a listing of
/// thousands of tokens in slices.
const STEPS: u32 = 20_000;

/// One run over one secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    request: RunRequest,
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
    pending: Option<Box<Change>>,
    reports: Vec<Report>,
    end: Option<RunResult>,
}

impl Run {
    /// A run that knows nothing yet but its request.
    pub fn new(mut request: RunRequest) -> Self {
        let view = View::new(request.known.listing.take());
        Run {
            request,
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
        self.request.known.journal.as_ref()
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
        let known = self.request.known.journal.as_mut();
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
                Step::Write(change) => break self.write(*change, now),
                Step::Advance(candidate) => self.progress.candidate = Some(*candidate),
                Step::Rotate(request) => self.request.goal = Goal::Rotate(request),
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
            now,
        };
        self.next(&cx, known.cas)
    }

    /// Whose claim it is, and which work is next.
    fn next(&self, cx: &Context<'_>, version: u64) -> Decision<Step> {
        let released = cx.is_released();
        if cx.record.closed_at.is_some() && !cx.request.dry_run {
            return Ok(match released {
                true => Step::finish(RunResult::Done { wake: None }),
                false => maintain::reopen(cx),
            });
        }
        if let Some(what) = implausible(cx) {
            // Only what is known afresh is judged, and dropping an entry is a cure.
            if !self.journal_is_fresh {
                return Err(Command::ReadJournal);
            }
            if !matches!(cx.request.goal, Goal::Forget(_)) {
                return Ok(Step::finish(RunResult::JournalImplausible(what)));
            }
        }
        if let Some(claim) = cx
            .record
            .claim
            .as_ref()
            .filter(|it| it.nonce != cx.request.id)
        {
            return self.claimed_elsewhere(cx, claim, version);
        }
        if let Some(error) = &self.error {
            return Ok(match cx.is_new {
                true => Step::finish(RunResult::Retry(error.clone())),
                false => failure::give_up(cx, error),
            });
        }
        if cx.is_new && released {
            // Someone deleted the document: there is nothing to finish.
            return Ok(Step::finish(RunResult::Done { wake: None }));
        }
        if cx.request.dry_run {
            return match cx.is_relocated() {
                true => Ok(relocate::next(cx)),
                false => rotate::next(cx),
            };
        }
        if let Some(claim) = &cx.record.claim {
            return claimed(cx, claim);
        }
        if cx.is_new
            && let Some(step) = adopt::record_secret(cx)?
        {
            return Ok(step);
        }
        match &cx.request.goal {
            Goal::Undo => undo::next(cx),
            Goal::Forget(id) => Ok(maintain::forget(cx, id)),
            Goal::Settle | Goal::Release | Goal::Rotate(_) => self.unclaimed(cx),
        }
    }

    /// Another holder has the claim.
    fn claimed_elsewhere(&self, cx: &Context<'_>, claim: &Claim, version: u64) -> Decision<Step> {
        if !self.journal_is_fresh {
            // What is known of another's claim may be old.
            return Err(Command::ReadJournal);
        }
        Ok(match takeover::wait(cx, claim, version) {
            Some(busy) => Step::finish(busy),
            None if cx.request.dry_run => Step::finish(RunResult::DryRun(format!(
                "{}: would first finish the interrupted work of {}",
                cx.plan().name,
                claim.holder
            ))),
            None => takeover::take_over(cx, claim),
        })
    }

    /// Nobody has a claim: what is there to do?
    fn unclaimed(&self, cx: &Context<'_>) -> Decision<Step> {
        let wanted = rotation_wanted(cx);
        if wanted && !cx.request.env.enabled {
            return Ok(Step::refuse(format!(
                "{} is switched off (`enabled = false`), so nothing is changed; switch it on first",
                cx.plan().name
            )));
        }
        if wanted && cx.is_relocated() {
            return Ok(relocate::next(cx));
        }
        if !wanted && let Some(step) = adopt::record_secret(cx)? {
            return Ok(step);
        }
        if wanted {
            return rotate::next(cx);
        }
        if let Some(step) = self.check_replaced(cx)? {
            return Ok(step);
        }
        if let Some(step) = relocate::report(cx, self.journal_is_fresh) {
            return Ok(step);
        }
        if let Some(step) = maintain::extend_grace_for_outage(cx) {
            return Ok(step);
        }
        if cx.request.hints.reread_secret && cx.view.known_secret().is_none() {
            return Err(Command::ReadSecret);
        }
        let work = [
            |cx: &Context<'_>| adopt::reconcile(cx, false),
            maintain::mark_retiring,
            cleanup::next,
            retire::next,
            maintain::check_validity,
            |cx: &Context<'_>| Ok(maintain::close_document(cx)),
        ];
        for next in work {
            if let Some(step) = next(cx)? {
                return Ok(step);
            }
        }
        Ok(come_to_rest(cx))
    }

    /// Reports a secret that was deleted between our read and our store: a soft delete does not move the version, so the check-and-set
    /// could not see it.
    fn check_replaced(&self, cx: &Context<'_>) -> Decision<Option<Step>> {
        let Some(version) = self.progress.replaced_version else {
            return Ok(None);
        };
        if !cx.request.env.history || cx.view.known_version(version).is_some() {
            return Ok(None);
        }
        Err(Command::ReadVersion(version))
    }

    /// Writes the document of `change` and stamps what every write stamps.
    fn write(&mut self, mut change: Change, _now: Now) -> Command {
        if self.request.goal != Goal::Release {
            change.record.policy = Some(RetirementPolicy::of(&self.request.plan));
        }
        let record = Box::new(change.record.clone());
        self.pending = Some(Box::new(change));
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
        self.write(change, now)
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
                self.progress.candidate = Some(Candidate::new(Source::Minted, value, ordered, now));
            }
            Err(error) if error.kind == ErrorKind::Unclear => {
                self.progress.mint = MintState::Unknown;
            }
            Err(error) => {
                let refused = error.kind == ErrorKind::Refused;
                self.progress.mint = match refused {
                    true => MintState::Rejected,
                    false => MintState::NotSent,
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
                let observation = &mut self.request.known.observation;
                if observation.is_none_or(|it| it.version != snapshot.cas) {
                    *observation = Some(ClaimObservation {
                        version: snapshot.cas,
                        since: now.mono,
                    });
                }
                self.journal_is_fresh = true;
                self.request.known.journal = Some(snapshot);
            }
            Ok(Err(why)) => self.end = Some(RunResult::JournalUnreadable(why)),
            Err(error) => self.end = Some(RunResult::Retry(error)),
        }
    }

    fn journal_written(&mut self, written: Result<u64, CallError>) {
        let pending = self.pending.take();
        match (written, pending) {
            (Ok(version), Some(change)) => self.acknowledged(version, *change),
            (Err(error), _) if error.kind == ErrorKind::Conflict => {
                // Someone else wrote: whatever was known or held is void, and an ordinary lost claim is no warning.
                self.conflicts += 1;
                self.request.known.journal = None;
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
        self.request.known.journal = Some(JournalSnapshot {
            cas: version,
            record: Some(Box::new(change.record)),
        });
        self.reports.extend(change.reports);
        self.view.void(Effect::Journal);
        if let Some(Work::Undo { id, .. }) = claim.as_ref().map(|claim| &claim.work) {
            self.progress.undo_begun = Some(id.clone());
        }
        // What is held belongs to the claim.
        let holds = claim.as_ref().is_some_and(|claim| match &claim.work {
            Work::Rotate { attempt, .. } => attempt.is_some(),
            Work::Cleanup => false,
            Work::Undo { .. } | Work::Disable { .. } | Work::Delete { .. } => true,
        });
        if !holds {
            self.progress.reset();
        }
        match change.then {
            AfterWrite::Continue => {}
            AfterWrite::Reread => self.view.void(Effect::All),
            AfterWrite::GoalReached(replaced) => {
                self.request.goal = match self.request.goal {
                    Goal::Rotate(_) => Goal::Settle,
                    ref other => other.clone(),
                };
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

/// A rotation is wanted, and its due time is not served yet. Nothing is due by a clock that is wrong.
fn rotation_wanted(cx: &Context<'_>) -> bool {
    let Some(request) = cx.request.rotation() else {
        return false;
    };
    match request.due {
        Some(due) => {
            let trusted = cx.request.env.clock != Clock::Disagrees;
            trusted && cx.record.last_due.is_none_or(|last| last < due)
        }
        None => true,
    }
}

/// Continues with the work under our own claim.
fn claimed(cx: &Context<'_>, claim: &Claim) -> Decision<Step> {
    match &claim.work {
        Work::Rotate { attempt, .. } => {
            if cx.is_relocated() && attempt.is_none() {
                return Ok(relocate::next(cx));
            }
            if attempt.is_none()
                && let Some(step) = adopt::reconcile(cx, true)?
            {
                return Ok(step);
            }
            match &cx.progress.candidate {
                Some(candidate) => store::next(cx, candidate),
                None => rotate::next(cx),
            }
        }
        Work::Cleanup => {
            cx.view.secret(cx.record)?;
            match adopt::reconcile(cx, false)? {
                Some(step) => Ok(step),
                None => cleanup::claimed(cx),
            }
        }
        Work::Disable { id } => retire::disable(cx, id),
        Work::Delete { id } => retire::delete(cx, id),
        Work::Undo { .. } => match &cx.progress.candidate {
            Some(candidate) => store::next(cx, candidate),
            None => Ok(undo::without_candidate(cx)),
        },
    }
}

/// Nothing is left to do now, so what was refused to a clean-up is refused no longer.
fn come_to_rest(cx: &Context<'_>) -> Step {
    let refused = cx.record.health.failure.as_ref();
    let resolved = refused.is_some_and(|failure| failure.reason == Reason::RetirementRefused);
    if resolved && cx.clock_is_trusted() {
        let mut record = cx.draft();
        record.health.failure = None;
        return Step::write(record, vec![], AfterWrite::Continue);
    }
    let waits = cx
        .request
        .rotation()
        .is_some_and(|request| request.due.is_some());
    if waits && cx.request.env.clock == Clock::Disagrees {
        let what = "the clocks disagree, so nothing is rotated by schedule";
        return Step::finish(RunResult::Retry(CallError::new(
            Service::Dynatrace,
            ErrorKind::Transient,
            what,
        )));
    }
    Step::finish(RunResult::Done {
        wake: next_wakeup(cx),
    })
}

/// When the next step of clean-up or retirement is due. What this run could not settle is not retried at once.
fn next_wakeup(cx: &Context<'_>) -> Option<Timestamp> {
    if !cx.request.env.enabled {
        return None;
    }
    let soon = cx.now.after(EXAMINE_AGAIN);
    let least = |at: Timestamp| if at <= cx.now.wall { soon } else { at };
    let hold = cx.record.health.hold_until;
    let retiring = cx
        .record
        .retiring
        .iter()
        .filter(|entry| belongs_here(cx, entry))
        .map(|entry| least(entry.due.max(hold.unwrap_or(entry.due))));
    let open = cx
        .record
        .open
        .iter()
        .map(|open| least(cleanup::next_listing(cx, open)));
    retiring.chain(open).min()
}
