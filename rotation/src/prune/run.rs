//! One run over one pruned token: which call is made next, from what the calls before it returned. Several processes run over a token at the same
//! time. What one is about to do is in the document before it is done, and only that process does it whose change of the entry was accepted.

use jiff::Timestamp;

use super::super::error::{CallError, ErrorKind};
use super::super::request::after;
use super::super::token::TokenInfo;
use super::command::{PruneCommand, PruneOutcome, PruneResult};
use super::order::PruneOrder;
use super::phase::{OVERTAKEN, Phase, as_before, change, dropped, finish, written};
use super::{Edit, Edited, PruneContext, PruneEnd, PruneStep, PrunedState, PrunedToken};

/// What a run is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PruneGoal {
    /// A person wants it gone: disable and mark it.
    Disable(Box<PruneOrder>),
    /// Do what follows from its entry: finish what was interrupted, delete it when its time has come.
    Settle,
    /// A person wants it back.
    Restore,
}

/// One run over one token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PruneRun {
    goal: PruneGoal,
    /// The entry as this run read or wrote it last; none = it has not ordered anything yet.
    entry: Option<PrunedToken>,
    /// The entry before a person's command changed it.
    before: Option<PrunedToken>,
    ask: PruneCommand,
    /// When the last call was named: what a read shows is not newer than this, however long the answer took.
    asked: Option<Timestamp>,
    phase: Phase,
    answer: Option<PruneOutcome>,
}

impl PruneRun {
    /// A run that disables a token.
    pub fn disable(order: PruneOrder) -> Self {
        let order = Box::new(order);
        PruneRun::new(PruneGoal::Disable(order), None, Phase::Check)
    }

    /// A run that does what follows from this entry.
    pub fn settle(entry: PrunedToken) -> Self {
        PruneRun::new(PruneGoal::Settle, Some(entry), Phase::Decide)
    }

    /// A run that brings the token of this entry back.
    pub fn restore(entry: PrunedToken) -> Self {
        PruneRun::new(PruneGoal::Restore, Some(entry), Phase::Find)
    }

    fn new(goal: PruneGoal, entry: Option<PrunedToken>, phase: Phase) -> Self {
        PruneRun {
            goal,
            entry,
            before: None,
            ask: PruneCommand::LookUp,
            asked: None,
            phase,
            answer: None,
        }
    }

    /// The entry as this run read or wrote it last.
    pub fn entry(&self) -> Option<&PrunedToken> {
        self.entry.as_ref()
    }

    /// Takes the outcome of the command that [`PruneRun::step`] named.
    pub fn learn(&mut self, outcome: PruneOutcome) {
        self.answer = Some(outcome);
    }

    /// The next call. It is to be asked for right before the call is made.
    pub fn step(&mut self, cx: &PruneContext<'_>) -> PruneCommand {
        if let Some(answer) = self.answer.take() {
            (self.ask, self.phase) = self.follow(answer, cx);
        }
        if self.phase == Phase::Disable
            && let Some(renewed) = self.renewed(cx)
        {
            (self.ask, self.phase) = (change(renewed), Phase::Order);
        }
        self.asked = Some(cx.now);
        self.ask.clone()
    }

    /// What was known when the token was read.
    fn when_seen<'a>(&self, cx: &PruneContext<'a>) -> PruneContext<'a> {
        PruneContext {
            now: self.asked.unwrap_or(cx.now),
            ..*cx
        }
    }

    /// The order once more, if it was written so long ago that others may soon take it for one that was never carried out.
    fn renewed(&self, cx: &PruneContext<'_>) -> Option<Edit> {
        let from = self.entry.clone()?;
        let PruneGoal::Disable(order) = &self.goal else {
            return None;
        };
        let old = cx.now >= after(from.since, cx.settle / 2);
        old.then(|| Edit::replace(from, order.entry(cx)))
    }

    fn follow(&mut self, answer: PruneOutcome, cx: &PruneContext<'_>) -> (PruneCommand, Phase) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match (phase, answer) {
            (Phase::AfterUnclear(error), PruneOutcome::Seen(seen)) => match seen {
                Ok(Some(info)) if self.is_disabled(&info, cx) => self.note_disabled(cx),
                _ => finish(PruneResult::Unclear(error)),
            },
            (Phase::AfterOvertaken, PruneOutcome::Seen(seen)) => self.after_overtaken(seen, cx),
            (phase, PruneOutcome::Seen(Ok(seen))) => self.seen(phase, seen, cx),
            (Phase::Withdraw(error) | Phase::Revert(error), PruneOutcome::Changed(_)) => {
                finish(PruneResult::Failed(error))
            }
            // A daemon notes it.
            (Phase::NoteDisabled, PruneOutcome::Changed(Err(_))) => finish(PruneResult::Disabled),
            (phase, PruneOutcome::Changed(Ok(edited))) => self.edited(phase, edited, cx),
            (phase, PruneOutcome::Called(called)) => self.called(phase, called, cx),
            (_, PruneOutcome::Seen(Err(error)) | PruneOutcome::Changed(Err(error))) => {
                finish(PruneResult::Failed(error))
            }
        }
    }

    fn seen(
        &mut self,
        phase: Phase,
        seen: Option<TokenInfo>,
        cx: &PruneContext<'_>,
    ) -> (PruneCommand, Phase) {
        match phase {
            Phase::Check => self.check(seen, cx),
            Phase::Find => self.find(seen, cx),
            Phase::LookAgain(step) => self.act(step, seen, cx),
            _ => self.decide(seen, cx),
        }
    }

    // ------------------------------------------------------------------------------------------------------------ disable ---

    fn check(&mut self, seen: Option<TokenInfo>, cx: &PruneContext<'_>) -> (PruneCommand, Phase) {
        let PruneGoal::Disable(order) = &self.goal else {
            return finish(PruneResult::Overtaken);
        };
        let Some(info) = seen else {
            return finish(PruneResult::Skipped("is gone".to_owned()));
        };
        let why = cx.protection(&info);
        if let Some(why) = why.or_else(|| order.changed(&info).map(str::to_owned)) {
            return finish(PruneResult::Skipped(why));
        }
        let add = Edit::Add(order.entry(cx));
        (change(add), Phase::Order)
    }

    fn disable_now(&self, cx: &PruneContext<'_>) -> (PruneCommand, Phase) {
        let (PruneGoal::Disable(order), Some(entry)) = (&self.goal, &self.entry) else {
            return finish(PruneResult::Overtaken);
        };
        let name = order.marked_name(cx.installation, entry.at);
        let command = PruneCommand::SetState {
            enabled: false,
            name,
        };
        (command, Phase::Disable)
    }

    fn is_disabled(&self, info: &TokenInfo, cx: &PruneContext<'_>) -> bool {
        let entry = self.entry.as_ref();
        !info.enabled && entry.is_some_and(|entry| entry.is_marked(info, cx.installation))
    }

    /// It bears what this run gave it: the mark, or where there is none, that it is disabled.
    fn is_ours(&self, info: &TokenInfo, cx: &PruneContext<'_>) -> bool {
        let entry = self.entry.as_ref();
        entry.is_some_and(|entry| {
            let shows = entry.digest.is_some() || !info.enabled;
            shows && entry.is_marked(info, cx.installation)
        })
    }

    fn note_disabled(&self, cx: &PruneContext<'_>) -> (PruneCommand, Phase) {
        let Some(from) = self.entry.clone() else {
            return finish(PruneResult::Overtaken);
        };
        let to = from.entered(PrunedState::Quarantine, cx.now);
        let edit = Edit::replace(from, to);
        (change(edit), Phase::NoteDisabled)
    }

    /// The process was held up for so long that others took the order for one that was never carried out, or a person brought the token back.
    fn after_overtaken(
        &self,
        seen: Result<Option<TokenInfo>, CallError>,
        cx: &PruneContext<'_>,
    ) -> (PruneCommand, Phase) {
        match (seen, &self.entry) {
            (Ok(Some(info)), Some(entry)) if self.is_ours(&info, cx) => {
                (as_before(entry, &info, cx), Phase::TakeBack)
            }
            // A daemon noted it, and its quarantine is over by now.
            (Ok(None), _) => finish(PruneResult::Disabled),
            (Ok(_), _) => finish(PruneResult::Skipped(OVERTAKEN.to_owned())),
            (Err(error), _) => finish(PruneResult::Unclear(error)),
        }
    }

    // ------------------------------------------------------------------------------------------------------------- settle ---

    fn decide(&mut self, seen: Option<TokenInfo>, cx: &PruneContext<'_>) -> (PruneCommand, Phase) {
        let Some(from) = self.entry.clone() else {
            return finish(PruneResult::Overtaken);
        };
        let step = from.next(seen.as_ref(), &self.when_seen(cx));
        let missing_since = from.missing_since.filter(|_| seen.is_none());
        let as_it_is = PrunedToken {
            missing_since,
            ..from.clone()
        };
        let (to, result) = match &step {
            PruneStep::Drop(end) => {
                let phase = Phase::Write(step.clone(), PruneResult::Ended(*end));
                return (change(Edit::Drop(from)), phase);
            }
            PruneStep::BeginQuarantine => {
                let to = from.entered(PrunedState::Quarantine, cx.now);
                let name = seen.map(|info| info.name).unwrap_or_default();
                let due = to.deletion(&name, cx.installation, cx.quarantine);
                (to, PruneResult::Wait(due))
            }
            PruneStep::NoteMissing => {
                let to = PrunedToken {
                    missing_since: Some(cx.now),
                    ..from.clone()
                };
                (to, PruneResult::Wait(after(cx.now, cx.settle)))
            }
            PruneStep::Delete => {
                let to = from.entered(PrunedState::Deleting, cx.now);
                (to, PruneResult::Overtaken)
            }
            PruneStep::Restore => {
                let to = from.entered(PrunedState::Restoring, cx.now);
                (to, PruneResult::Overtaken)
            }
            PruneStep::Wait(at) => (as_it_is, PruneResult::Wait(*at)),
            PruneStep::Confirm => (as_it_is, PruneResult::Unconfirmed),
            PruneStep::Block(why) => (as_it_is, PruneResult::Blocked(why.clone())),
        };
        if to == from {
            return written(step, result);
        }
        let edit = Edit::replace(from, to);
        (change(edit), Phase::Write(step, result))
    }

    /// Between the decision and now someone may have changed the token.
    fn act(
        &self,
        step: PruneStep,
        seen: Option<TokenInfo>,
        cx: &PruneContext<'_>,
    ) -> (PruneCommand, Phase) {
        let (Some(entry), Some(info)) = (&self.entry, seen) else {
            return finish(PruneResult::Overtaken);
        };
        // A person who named it wants it back, whatever its name is now.
        let ordered = self.goal == PruneGoal::Restore;
        match step {
            PruneStep::Restore if ordered || entry.next_of_restoring(&info, cx) == step => {
                (as_before(entry, &info, cx), Phase::Act(step))
            }
            PruneStep::Delete if entry.next(Some(&info), &self.when_seen(cx)) == step => {
                (PruneCommand::Delete, Phase::Act(step))
            }
            _ => finish(PruneResult::Overtaken),
        }
    }

    // ------------------------------------------------------------------------------------------------------------ restore ---

    fn find(&mut self, seen: Option<TokenInfo>, cx: &PruneContext<'_>) -> (PruneCommand, Phase) {
        let Some(from) = self.entry.clone() else {
            return finish(PruneResult::Overtaken);
        };
        let (id, settled) = (&from.id, after(from.since, cx.settle));
        let refused = match from.state {
            PrunedState::Deleting => {
                Some(format!("{id} is being deleted; it cannot be brought back"))
            }
            // A disable whose outcome is not known may still take effect.
            PrunedState::Ordered if self.when_seen(cx).now < settled => Some(format!(
                "{id} is being disabled right now, or the command that did it was interrupted; run this again after {settled:.0}"
            )),
            _ => seen.is_none().then(|| format!("{id} no longer exists")),
        };
        if let Some(why) = refused {
            return finish(PruneResult::Refused(why));
        }
        self.before = Some(from.clone());
        let to = from.entered(PrunedState::Restoring, cx.now);
        let why = format!("another process is working on {id}; run the command again");
        let phase = Phase::Write(PruneStep::Restore, PruneResult::Refused(why));
        (change(Edit::replace(from, to)), phase)
    }

    // ------------------------------------------------------------------------------------------------------------ answers ---

    fn edited(
        &mut self,
        phase: Phase,
        edited: Edited,
        cx: &PruneContext<'_>,
    ) -> (PruneCommand, Phase) {
        let Edited { applied, entry } = edited;
        match phase {
            Phase::Order if applied => {
                self.entry = entry;
                self.disable_now(cx)
            }
            Phase::Order => finish(PruneResult::Skipped(
                "is pruned by another process".to_owned(),
            )),
            Phase::NoteDisabled if applied => finish(PruneResult::Disabled),
            Phase::NoteDisabled => {
                let order = self.entry.as_ref();
                let ours = |entry: &PrunedToken| order.is_some_and(|it| entry.is_of_order(it));
                match entry {
                    // A daemon noted it first.
                    Some(entry) if ours(&entry) && entry.state != PrunedState::Restoring => {
                        finish(PruneResult::Disabled)
                    }
                    // It is settled by the order of somebody else, and only a mark would show whose call took effect.
                    Some(entry) if !ours(&entry) && entry.digest.is_none() => {
                        finish(PruneResult::Skipped(OVERTAKEN.to_owned()))
                    }
                    _ => (PruneCommand::LookUp, Phase::AfterOvertaken),
                }
            }
            Phase::Write(step, result) if applied => {
                self.entry = entry.or(self.entry.take());
                written(step, result)
            }
            Phase::Write(PruneStep::Restore, refused @ PruneResult::Refused(_)) => finish(refused),
            Phase::End(PruneEnd::Restored) if self.goal == PruneGoal::Restore => {
                finish(PruneResult::Restored)
            }
            Phase::End(end) if applied => finish(PruneResult::Ended(end)),
            _ => finish(PruneResult::Overtaken),
        }
    }

    fn called(
        &mut self,
        phase: Phase,
        called: Result<(), CallError>,
        cx: &PruneContext<'_>,
    ) -> (PruneCommand, Phase) {
        let Some(entry) = self.entry.clone() else {
            return finish(PruneResult::Overtaken);
        };
        match (phase, called) {
            (Phase::Disable, Ok(())) => self.note_disabled(cx),
            (Phase::Disable, Err(error)) if error.kind == ErrorKind::Unclear => {
                (PruneCommand::LookUp, Phase::AfterUnclear(error))
            }
            (Phase::Disable, Err(error)) => (change(Edit::Drop(entry)), Phase::Withdraw(error)),
            (Phase::TakeBack, Ok(())) => finish(PruneResult::Skipped(OVERTAKEN.to_owned())),
            (Phase::TakeBack, Err(error)) => finish(PruneResult::Unclear(error)),
            (Phase::Act(PruneStep::Restore), Ok(())) => dropped(entry, PruneEnd::Restored),
            (Phase::Act(PruneStep::Delete), Ok(())) => dropped(entry, PruneEnd::Deleted),
            (Phase::Act(PruneStep::Delete), Err(error)) if error.kind == ErrorKind::Gone => {
                dropped(entry, PruneEnd::Deleted)
            }
            // Nothing happened, so that its quarantine continues. After an unclear answer a daemon completes it.
            (Phase::Act(PruneStep::Restore), Err(error)) if error.kind != ErrorKind::Unclear => {
                match self.before.take() {
                    Some(to) => {
                        let edit = Edit::replace(entry, to);
                        (change(edit), Phase::Revert(error))
                    }
                    None => finish(PruneResult::Failed(error)),
                }
            }
            (_, Err(error)) => finish(PruneResult::Failed(error)),
            (_, Ok(())) => finish(PruneResult::Overtaken),
        }
    }
}
