//! What a run asks for, and the one type of outcome that each command has.

use std::time::Duration;

use jiff::Timestamp;

use super::error::CallError;
use super::record::{Reason, Record};
use super::request::{ClaimObservation, JournalSnapshot, Listing};
use super::token::{MintRequest, TokenId, TokenInfo, Trial};

/// What the machine wants done next. At most one is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Read the journal document. [`Outcome::Journal`]
    ReadJournal,
    /// Write it if its version is `cas`. The runner stamps `write_id` and settles an unclear answer by resending and reading back.
    /// [`Outcome::Written`]
    WriteJournal {
        /// Version to check-and-set against.
        cas: u64,
        /// The whole document as it is to be.
        record: Box<Record>,
    },
    /// Read the latest version of the secret. [`Outcome::Secret`]
    ReadSecret,
    /// Read it once more, over another connection. [`Outcome::Confirmed`]
    ConfirmSecret,
    /// Read this version of the secret. [`Outcome::Version`]
    ReadVersion(u64),
    /// Look up the value that the last [`Command::ReadSecret`] found. [`Outcome::Value`]
    LookUpValue,
    /// Find out whose the value in this version of the secret is, so that it is proven. [`Outcome::VersionValue`]
    LookUpVersion(u64),
    /// Try the value that the last [`Command::ReadSecret`] found, where looking it up proves nothing. [`Outcome::ValueTried`]
    TryValue,
    /// Look up by id. [`Outcome::Token`]
    LookUp(TokenId),
    /// Mint; the runner keeps the value. [`Outcome::Minted`]
    Mint(MintRequest),
    /// Try the candidate's value: it authenticates as itself. [`Outcome::Verified`]
    Verify(Source),
    /// Prove that the minted value can manage tokens: it lists them, and enables this one, which is enabled. [`Outcome::ManagerProven`]
    ProveManager(Option<TokenId>),
    /// Put the candidate's value into the map read at version `base`, and write it with `cas = base`. [`Outcome::Stored`]
    Store {
        /// The only version it may replace.
        base: u64,
        /// Whose value is stored: the minted one, or that of an older version.
        source: Source,
    },
    /// Write the map read at version `base` unchanged, with `cas = base`, so that no store against an older version can be accepted.
    /// [`Outcome::Fenced`]
    Fence {
        /// The only version it may replace.
        base: u64,
    },
    /// Change or delete a token. [`Outcome::Changed`]
    Change(TokenAction, TokenId),
    /// List every marked token of the environment. [`Outcome::Listed`]
    List,
    /// Prove that the environment answers for a token that is known to exist. [`Outcome::Reachable`]
    ProveReachable,
    /// Wait this long. [`Outcome::Waited`] or [`Outcome::Stopped`]; the runner may also end the run when the process is to stop and another
    /// one of its name continues.
    Wait(Duration),
    /// End the run; there is no outcome.
    Finish(RunResult),
}

impl Command {
    /// The word of the call in the logs, such as `mint`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Command::ReadJournal | Command::WriteJournal { .. } => "journal",
            Command::ReadSecret | Command::ConfirmSecret | Command::ReadVersion(_) => "read",
            Command::LookUpValue | Command::LookUpVersion(_) | Command::LookUp(_) => "look_up",
            Command::TryValue => "try",
            Command::Mint(_) => "mint",
            Command::Verify(_) => "verify",
            Command::ProveManager(_) => "prove",
            Command::Store { .. } => "store",
            Command::Fence { .. } => "fence",
            Command::Change(action, _) => action.as_str(),
            Command::List => "list",
            Command::ProveReachable => "witness",
            Command::Wait(_) => "wait",
            Command::Finish(_) => "finish",
        }
    }

    /// Dynatrace is called for it.
    pub fn calls_dynatrace(&self) -> bool {
        match self {
            Command::LookUpValue
            | Command::LookUpVersion(_)
            | Command::TryValue
            | Command::LookUp(_)
            | Command::Mint(_)
            | Command::Verify(_)
            | Command::ProveManager(_)
            | Command::Change(..)
            | Command::List
            | Command::ProveReachable => true,
            Command::ReadJournal
            | Command::WriteJournal { .. }
            | Command::ReadSecret
            | Command::ConfirmSecret
            | Command::ReadVersion(_)
            | Command::Store { .. }
            | Command::Fence { .. }
            | Command::Wait(_)
            | Command::Finish(_) => false,
        }
    }
}

/// Where a candidate's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// It was minted in this run; only the runner holds it.
    Minted,
    /// An older version of the secret.
    Version(u64),
}

/// A change of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenAction {
    /// Switch it off; it can be enabled again.
    Disable,
    /// Switch it on again.
    Enable,
    /// End it; nothing brings it back.
    Delete,
    /// Give it this name.
    Rename(String),
    /// Let it expire at this time.
    Redate(Timestamp),
}

impl TokenAction {
    /// The word of the call in the logs, such as `disable`.
    pub fn as_str(&self) -> &'static str {
        match self {
            TokenAction::Disable => "disable",
            TokenAction::Enable => "enable",
            TokenAction::Delete => "delete",
            TokenAction::Rename(_) => "rename",
            TokenAction::Redate(_) => "redate",
        }
    }
}

/// The outcome of a command, one variant each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The document; the inner error = unreadable.
    Journal(Result<Result<JournalSnapshot, String>, CallError>),
    /// The version that the write made. A check-and-set that does not match is [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict).
    Written(Result<u64, CallError>),
    /// The latest version.
    Secret(Result<SecretSnapshot, CallError>),
    /// The latest version, as the second connection shows it.
    Confirmed(Result<SecretSnapshot, CallError>),
    /// The version that was asked for.
    Version(Result<SecretSnapshot, CallError>),
    /// The token that the value authenticates as; [`ErrorKind::Gone`](crate::error::ErrorKind::Gone) = Dynatrace knows none.
    Value(Result<TokenInfo, CallError>),
    /// The token that the value of that version authenticates as.
    VersionValue(Result<TokenInfo, CallError>),
    /// The token as which the value was accepted.
    ValueTried(Result<TokenInfo, CallError>),
    /// The token with that id.
    Token(Result<TokenInfo, CallError>),
    /// What the new value shows.
    Minted(Result<ValueRef, CallError>),
    /// What trying the candidate's value showed.
    Verified(Result<Trial, CallError>),
    /// Whether the minted value can manage tokens; a refusal is the error.
    ManagerProven(Result<(), CallError>),
    /// The version that the store made.
    Stored(Result<u64, CallError>),
    /// The version that the unchanged write made.
    Fenced(Result<u64, CallError>),
    /// The service has accepted the change; it may take effect later.
    Changed(Result<(), CallError>),
    /// Every marked token, and whether the listing is complete.
    Listed(Result<Listing, CallError>),
    /// The environment knows a token that is there, so its "not found" can be believed.
    Reachable(Result<(), CallError>),
    /// The time has passed.
    Waited,
    /// The process is to stop, and no other one continues what it claims.
    Stopped,
}

impl Outcome {
    /// The error of a call that failed.
    pub fn error(&self) -> Option<&CallError> {
        match self {
            Outcome::Journal(Err(error))
            | Outcome::Written(Err(error))
            | Outcome::Secret(Err(error))
            | Outcome::Confirmed(Err(error))
            | Outcome::Version(Err(error))
            | Outcome::Value(Err(error))
            | Outcome::VersionValue(Err(error))
            | Outcome::ValueTried(Err(error))
            | Outcome::Token(Err(error))
            | Outcome::Minted(Err(error))
            | Outcome::Verified(Err(error))
            | Outcome::ManagerProven(Err(error))
            | Outcome::Stored(Err(error))
            | Outcome::Fenced(Err(error))
            | Outcome::Changed(Err(error))
            | Outcome::Listed(Err(error))
            | Outcome::Reachable(Err(error)) => Some(error),
            _ => None,
        }
    }
}

/// A value that was read, without the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueRef {
    /// The id that the value shows.
    pub id: Option<TokenId>,
    /// Equal values have equal fingerprints within one run. No value can be computed from it.
    pub fingerprint: u64,
}

/// What a read of the secret found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSnapshot {
    /// It is there.
    Present {
        /// The number of the version; without history (KV v1) a fingerprint of the content.
        version: u64,
        /// What our field holds; none = no such field, empty, or not a string.
        value: Option<ValueRef>,
        /// None of our fields is there.
        vacant: bool,
    },
    /// Deleted or destroyed.
    Deleted {
        /// The version that was deleted; the next write makes the one after it.
        version: u64,
    },
    /// Never there, or pruned.
    Absent,
}

impl SecretSnapshot {
    /// The number to check-and-set against; 0 = nothing was ever there.
    pub fn version(&self) -> u64 {
        match self {
            SecretSnapshot::Present { version, .. } | SecretSnapshot::Deleted { version } => {
                *version
            }
            SecretSnapshot::Absent => 0,
        }
    }

    /// What our field holds.
    pub fn value(&self) -> Option<&ValueRef> {
        match self {
            SecretSnapshot::Present { value, .. } => value.as_ref(),
            _ => None,
        }
    }

    /// Neither the secret is there, nor a trace of it; or none of our fields is.
    pub fn is_vacant(&self) -> bool {
        match self {
            SecretSnapshot::Present { vacant, .. } => *vacant,
            SecretSnapshot::Deleted { .. } => false,
            SecretSnapshot::Absent => true,
        }
    }

    /// The id that the value of our field shows.
    pub fn id(&self) -> Option<&TokenId> {
        self.value()?.id.as_ref()
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunResult {
    /// Nothing more to do now.
    Done {
        /// The secret needs a run at this time at the latest; none = only when it is due.
        wake: Option<Timestamp>,
    },
    /// Another holder has the claim; run again after this.
    ClaimedElsewhere {
        /// The instance that has it, such as `web-1/daemon`.
        holder: String,
        /// When its claim can have lapsed.
        recheck: Duration,
        /// What to pass to the next run.
        observation: ClaimObservation,
    },
    /// The rotation failed or is stuck; the journal says so.
    Failed {
        /// Why, as a stable code.
        reason: Reason,
        /// When it is retried automatically.
        retry_at: Option<Timestamp>,
    },
    /// A service could not be used; nothing is lost, and the next run continues from the journal.
    Retry(CallError),
    /// The journal document cannot be read.
    JournalUnreadable(String),
    /// The journal document contradicts itself or the time; nothing is done for the secret until a person looks.
    JournalImplausible(String),
    /// Of a dry run: what would be done.
    DryRun(String),
    /// What a person asked for cannot be done: why. The current value is unchanged.
    Refused(String),
    /// The run did not end: a fault of dtrotate.
    InternalError(String),
}

impl RunResult {
    /// It is stuck for this reason.
    pub fn stuck(reason: Reason) -> Self {
        RunResult::Failed {
            reason,
            retry_at: None,
        }
    }
}
