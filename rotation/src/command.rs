//! What a run asks for, and the one type of outcome that each command has.

use std::time::Duration;

use jiff::Timestamp;

use super::error::CallError;
use super::record::{Reason, Record};
use super::request::{ClaimObservation, JournalSnapshot, Listing};
use super::token::{MintRequest, TokenId, TokenInfo};

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
        /// The document.
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
    /// Look up the value in this version of the secret. [`Outcome::VersionValue`]
    LookUpVersion(u64),
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
        /// Where the value comes from.
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
    /// Wait this long; the runner may end the run instead when the process is to stop. [`Outcome::Waited`]
    Wait(Duration),
    /// The run is over.
    Finish(RunResult),
}

/// Where a candidate's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The token that this run minted.
    Minted,
    /// An older version of the secret.
    Version(u64),
}

/// A change of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenAction {
    /// Disable it.
    Disable,
    /// Enable it.
    Enable,
    /// Delete it.
    Delete,
    /// Give it this name.
    Rename(String),
}

impl TokenAction {
    /// The word in logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            TokenAction::Disable => "disable",
            TokenAction::Enable => "enable",
            TokenAction::Delete => "delete",
            TokenAction::Rename(_) => "rename",
        }
    }
}

/// The outcome of a command, one variant each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The document; the inner error = unreadable.
    Journal(Result<Result<JournalSnapshot, String>, CallError>),
    /// The new version.
    Written(Result<u64, CallError>),
    /// The latest version.
    Secret(Result<SecretSnapshot, CallError>),
    /// The latest version, again.
    Confirmed(Result<SecretSnapshot, CallError>),
    /// One version.
    Version(Result<SecretSnapshot, CallError>),
    /// The token of the current value.
    Value(Result<TokenInfo, CallError>),
    /// The token of a version's value.
    VersionValue(Result<TokenInfo, CallError>),
    /// The token with that id.
    Token(Result<TokenInfo, CallError>),
    /// What the new value shows.
    Minted(Result<ValueRef, CallError>),
    /// The token as which the candidate's value authenticated.
    Verified(Result<TokenInfo, CallError>),
    /// It can manage tokens.
    ManagerProven(Result<(), CallError>),
    /// The new version.
    Stored(Result<u64, CallError>),
    /// The new version.
    Fenced(Result<u64, CallError>),
    /// It was changed.
    Changed(Result<(), CallError>),
    /// The listing.
    Listed(Result<Listing, CallError>),
    /// It answers.
    Reachable(Result<(), CallError>),
    /// The time is over.
    Waited,
}

impl Outcome {
    /// The error, if the command failed.
    pub fn error(&self) -> Option<&CallError> {
        match self {
            Outcome::Journal(result) => result.as_ref().err(),
            Outcome::Written(result) | Outcome::Stored(result) | Outcome::Fenced(result) => {
                result.as_ref().err()
            }
            Outcome::Secret(result) | Outcome::Confirmed(result) | Outcome::Version(result) => {
                result.as_ref().err()
            }
            Outcome::Value(result)
            | Outcome::VersionValue(result)
            | Outcome::Token(result)
            | Outcome::Verified(result) => result.as_ref().err(),
            Outcome::Minted(result) => result.as_ref().err(),
            Outcome::ManagerProven(result)
            | Outcome::Changed(result)
            | Outcome::Reachable(result) => result.as_ref().err(),
            Outcome::Listed(result) => result.as_ref().err(),
            Outcome::Waited => None,
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
        /// Version.
        version: u64,
        /// What our field holds; none = no such field, empty, or not a string.
        value: Option<ValueRef>,
    },
    /// Deleted or destroyed.
    Deleted {
        /// Version.
        version: u64,
    },
    /// Never there, or pruned.
    Absent,
}

impl SecretSnapshot {
    /// The version of the secret.
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
        /// Its name.
        holder: String,
        /// When its claim can have lapsed.
        recheck: Duration,
        /// What to pass to the next run.
        observation: ClaimObservation,
    },
    /// The rotation failed or is stuck; the journal says so.
    Failed {
        /// Why.
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
    /// The run did not come to rest: a fault of dtrotate.
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
