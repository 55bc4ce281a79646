//! The commands of a run over a pruned token, their outcomes, and the results of the run.

use jiff::Timestamp;

use super::super::error::CallError;
use super::super::token::TokenInfo;
use super::{Edit, Edited, PruneEnd};

/// What is to be called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PruneCommand {
    /// Read the token.
    LookUp,
    /// Change its entry in the document.
    Change(Box<Edit>),
    /// Enable or disable it, and rename it in the same call.
    SetState {
        /// Whether it is to work.
        enabled: bool,
        /// The new name; none = it keeps its own.
        name: Option<String>,
    },
    /// End it; nothing brings it back.
    Delete,
    /// Nothing is left to do.
    Finish(PruneResult),
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PruneOutcome {
    /// None = the service does not know it, and answers for one that is known to exist.
    Seen(Result<Option<TokenInfo>, CallError>),
    /// Whether the entry in the document was changed, or was not the one that the decision was made from.
    Changed(Result<Edited, CallError>),
    /// Of a change or a deletion of the token.
    Called(Result<(), CallError>),
}

/// What became of a token in a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PruneResult {
    /// It is disabled and marked.
    Disabled,
    /// It is left alone: half a sentence about it.
    Skipped(String),
    /// It may be disabled. A daemon finds out.
    Unclear(CallError),
    /// A call failed.
    Failed(CallError),
    /// There is nothing to do before this time.
    Wait(Timestamp),
    /// It left the document.
    Ended(PruneEnd),
    /// A person has to confirm its deletion.
    Unconfirmed,
    /// It is left alone until a person acts: why.
    Blocked(String),
    /// Another process or a person changed something meanwhile: the next run finds out what.
    Overtaken,
    /// It is as it was before it was pruned.
    Restored,
    /// It cannot be brought back: why.
    Refused(String),
}
