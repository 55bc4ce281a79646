//! What a run knows, what it asks for, and what it is told: the alphabet of the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::error::CallError;
use super::plan::Plan;
use super::record::{Reason, Record, Trigger};
use super::token::{Abilities, Epoch, MintOrder, TokenId, TokenInfo};

/// The time as the caller's clocks show it, and a throw of dice; the machine has neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Now {
    /// Wall clock.
    pub wall: Timestamp,
    /// Monotonic clock of this process.
    pub mono: Duration,
    /// Uniform over all of `u64`; spreads retries.
    pub dice: u64,
}

/// Who runs this.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The instance name.
    pub instance: String,
    /// Random mark of this process.
    pub boot: String,
    /// A claim that bears this instance's name is a dead predecessor's (a daemon's); a command has no predecessor.
    pub resumes: bool,
}

/// Somebody wants a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    /// The nominal due instant to serve; none for a command.
    pub due: Option<Timestamp>,
    /// Why.
    pub trigger: Trigger,
}

/// How long a journal version has stood unchanged, on the observer's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// The version.
    pub version: u64,
    /// When it was first seen.
    pub since: Duration,
}

/// A time in which Vault could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outage {
    /// Its beginning; none = it had begun when this process started, nobody knows when.
    pub since: Option<Timestamp>,
    /// Its end.
    pub until: Timestamp,
}

/// Everything that a run is started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Errand {
    /// What to rotate and how.
    pub plan: Arc<Plan>,
    /// Who runs it.
    pub holder: Holder,
    /// Random mark of this run: the nonce of its claims and the `rotation_id` of its log lines.
    pub id: String,
    /// The identity of a secret that is seen for the first time.
    pub fresh_epoch: Epoch,
    /// What the issuer can do.
    pub abilities: Abilities,
    /// The store keeps numbered versions.
    pub history: bool,
    /// A rotation is wanted; else the run only settles what is open and due.
    pub wish: Option<Wish>,
    /// A person wants the previous token back; then nothing else is done.
    pub undo: bool,
    /// Say what would be done, and do nothing.
    pub dry: bool,
    /// The clocks agree with the servers': retirement may go on.
    pub clock_ok: bool,
    /// The current tokens of the configured secrets.
    pub holders: Arc<Holders>,
    /// The journal document as this process last saw it.
    pub journal: Option<Known>,
    /// How long that has stood unchanged.
    pub watch: Option<Watch>,
    /// A full listing of this environment's marked tokens, if one is at hand.
    pub listing: Option<Listing>,
    /// The secret is not in the configuration any more: its retirements are finished, its document is closed, nothing is minted.
    pub leaving: bool,
    /// Read the secret, whatever else there is to do: a person may have put another value there.
    pub glance: bool,
    /// There is a doubt whether the current token works, or a hope that what made it stuck is over.
    pub doubt: bool,
    /// The last outage of Vault that this process saw the end of.
    pub outage: Option<Outage>,
}

/// Current tokens, and whose they are: the names of secrets.
pub type Holders = BTreeMap<TokenId, Vec<String>>;

/// The journal document as last read or acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// The version to check-and-set against.
    pub cas: u64,
    /// The document; none = there is none yet.
    pub record: Option<Box<Record>>,
}

/// A full listing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listing {
    /// When it was asked for.
    pub at: Timestamp,
    /// The tokens that bear a marker.
    pub tokens: Arc<Vec<TokenInfo>>,
}

/// A value that was read, without the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holds {
    /// The id that it shows by itself.
    pub id: Option<TokenId>,
    /// Equal values have equal marks within one process. No value can be computed from it.
    pub mark: u64,
}

/// What a read of the secret found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// It is there.
    Present {
        /// Version.
        version: u64,
        /// What stands in our field; none = no such field, blank, or no string.
        holds: Option<Holds>,
    },
    /// Deleted or destroyed.
    Deleted {
        /// Version.
        version: u64,
    },
    /// Never there, or pruned.
    Absent,
}

impl Seen {
    /// Where the version counter stands.
    pub fn version(&self) -> u64 {
        match self {
            Seen::Present { version, .. } | Seen::Deleted { version } => *version,
            Seen::Absent => 0,
        }
    }

    /// What stands in our field.
    pub fn holds(&self) -> Option<&Holds> {
        match self {
            Seen::Present { holds, .. } => holds.as_ref(),
            _ => None,
        }
    }
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Looked {
    /// The environment knows it.
    Known(TokenInfo),
    /// The environment answered 404.
    Gone,
}

/// What the machine wants done next. At most one is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Read the journal document.
    ReadJournal,
    /// Write it if its version is `cas`. The carrier stamps `write_id` and settles an unclear answer by resending and reading back.
    WriteJournal {
        /// Version to check-and-set against.
        cas: u64,
        /// The document.
        record: Box<Record>,
    },
    /// Read the latest version of the secret.
    ReadSecret,
    /// Read this version of the secret.
    ReadVersion(u64),
    /// Look up the value that the last [`Command::ReadSecret`] found.
    LookUpValue,
    /// Look up by id.
    LookUp(TokenId),
    /// Mint; the carrier keeps the value.
    Mint(MintOrder),
    /// Try the minted value: it authenticates as itself.
    Verify,
    /// Prove that the minted value can manage tokens: it lists them, and enables this one, which is enabled.
    Prove(Option<TokenId>),
    /// Put the minted value into the map read at version `base`, and write it with `cas = base`.
    Store {
        /// The only version it may replace.
        base: u64,
    },
    /// Write the map read at version `base` unchanged, with `cas = base`: a fence.
    Rewrite {
        /// The only version it may replace.
        base: u64,
    },
    /// Try the value of an older version: it authenticates as itself.
    TryVersion(u64),
    /// Put the value of version `from` into the map read at version `base`, and write it with `cas = base`.
    Restore {
        /// The only version it may replace.
        base: u64,
        /// Where the value is read from.
        from: u64,
    },
    /// Disable or enable or delete a token.
    Act(Act, TokenId),
    /// List every marked token of the environment.
    List,
    /// Prove that a 404 of this environment can be believed.
    Witness,
    /// Wait this long; the carrier may end the run instead when the process is to stop.
    Wait(Duration),
    /// The run is over.
    Finish(Verdict),
}

/// An effect on a token by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Disable it.
    Disable,
    /// Enable it.
    Enable,
    /// Delete it.
    Delete,
}

impl Act {
    /// The word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Disable => "disable",
            Act::Enable => "enable",
            Act::Delete => "delete",
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Of `ReadJournal`; `Err(String)` inside = unreadable.
    Journal(Result<Result<Known, String>, CallError>),
    /// Of `WriteJournal`: the new version.
    Wrote(Result<u64, CallError>),
    /// Of `ReadSecret` and `ReadVersion`.
    Secret(Result<Seen, CallError>),
    /// Of `LookUpValue`, `LookUp` and `Verify`.
    Info(Result<TokenInfo, CallError>),
    /// Of `Mint`: what the value shows.
    Minted(Result<Holds, CallError>),
    /// Of `Store` and `Rewrite`: the new version.
    Stored(Result<u64, CallError>),
    /// Of `Act`, `Witness` and `Prove`.
    Done(Result<(), CallError>),
    /// Of `List`.
    Listed(Result<Listing, CallError>),
    /// Of `Wait`.
    Waited,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing more to do now.
    Settled {
        /// The secret needs a look at this time at the latest; none = only when it is due.
        wake: Option<Timestamp>,
    },
    /// Another holder is at work; look again after this.
    Busy {
        /// Its name.
        holder: String,
        /// When its claim can have lapsed.
        recheck: Duration,
        /// What to hand to the next run.
        watch: Watch,
    },
    /// The rotation failed or is stuck; the journal says so.
    Failed {
        /// Why.
        reason: Reason,
        /// When to try again by itself.
        retry_at: Option<Timestamp>,
    },
    /// A service could not be used; nothing is lost, and the next run goes on from the journal.
    Later(CallError),
    /// The journal document cannot be read.
    Unreadable(String),
    /// Of a dry run: what would be done.
    Would(String),
    /// What a person asked for cannot be done: why. The current value is as it was.
    Refused(String),
}
