//! The phases of a run over a pruned token, and the next commands that several phases name.

use super::super::error::CallError;
use super::super::token::TokenInfo;
use super::command::{PruneCommand, PruneResult};
use super::{Edit, PruneContext, PruneEnd, PruneStep, PrunedToken};

/// What the answer to the last call is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Whether it is still what the plan showed.
    Check,
    Order,
    Disable,
    /// Whether a call without a clear answer took effect.
    AfterUnclear(CallError),
    NoteDisabled,
    /// The order is withdrawn, because its call failed.
    Withdraw(CallError),
    /// Another process settled the order before the call was sent: whether it took effect nevertheless.
    AfterOvertaken,
    TakeBack,
    /// What follows from the entry.
    Decide,
    /// The decision is written, and the run ends with this unless there is something to call.
    Write(PruneStep, PruneResult),
    /// Once more, right before the call.
    LookAgain(PruneStep),
    Act(PruneStep),
    /// The call failed, and the entry becomes what it was.
    Revert(CallError),
    End(PruneEnd),
    /// Whether it can be brought back.
    Find,
    Over,
}

/// What is said of a token whose order another process settled before its call was sent.
pub(super) const OVERTAKEN: &str =
    "was settled by another process, because this one was held up for too long";

/// The call that makes the token what it was.
pub(super) fn as_before(
    entry: &PrunedToken,
    info: &TokenInfo,
    cx: &PruneContext<'_>,
) -> PruneCommand {
    PruneCommand::SetState {
        enabled: entry.enabled,
        name: entry.name_back(&info.name, cx.installation),
    }
}

pub(super) fn change(edit: Edit) -> PruneCommand {
    PruneCommand::Change(Box::new(edit))
}

pub(super) fn finish(result: PruneResult) -> (PruneCommand, Phase) {
    (PruneCommand::Finish(result), Phase::Over)
}

/// The decision is in the document, and what is to be called is called.
pub(super) fn written(step: PruneStep, result: PruneResult) -> (PruneCommand, Phase) {
    match step {
        PruneStep::Delete | PruneStep::Restore => (PruneCommand::LookUp, Phase::LookAgain(step)),
        _ => finish(result),
    }
}

pub(super) fn dropped(entry: PrunedToken, end: PruneEnd) -> (PruneCommand, Phase) {
    (change(Edit::Drop(entry)), Phase::End(end))
}
