//! What a run is started with: the goal, the settings, and what this process already knows.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::capabilities::Capabilities;
use super::index::Index;
use super::marker::Epoch;
use super::pause::Pause;
use super::plan::Plan;
use super::record::{Record, Revocation, Trigger, Writer};
use super::token::{TokenId, TokenInfo};

/// The time as the caller's clocks show it, and a random number; the machine has neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Now {
    /// The time of day, for what is written down and compared with times of the servers.
    pub wall: Timestamp,
    /// Monotonic clock of this process.
    pub mono: Duration,
    /// Uniform over all of `u64`; spreads retries.
    pub dice: u64,
}

impl Now {
    /// The wall clock `length` from now.
    pub fn after(&self, length: Duration) -> Timestamp {
        after(self.wall, length)
    }
}

/// The time `length` after `at`; the end of the calendar if that is nearer.
pub fn after(at: Timestamp, length: Duration) -> Timestamp {
    at.checked_add(length).unwrap_or(Timestamp::MAX)
}

/// Who runs this.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The name of the instance, such as `web-1/daemon`: the same over restarts.
    pub instance: String,
    /// Random mark of this process.
    pub boot: String,
    /// When this process began.
    pub began: Timestamp,
    /// The person behind a command, as Vault knows them.
    pub user: Option<String>,
    /// A daemon: a claim under its own name is its predecessor's, and it retries what failed. A command has no predecessor and retries nothing.
    pub is_daemon: bool,
    /// One pass (`run --once`), which ends automatically: daemons do not count it among the replicas.
    pub is_pass: bool,
}

impl Holder {
    /// It, as the process that writes a document at `at`.
    pub fn writer(&self, at: Timestamp) -> Writer {
        Writer {
            instance: self.instance.clone(),
            boot: self.boot.clone(),
            daemon: self.is_resumed(),
            at,
        }
    }

    /// The next process of this name continues what this one claims. What nobody resumes is given back instead.
    pub fn is_resumed(&self) -> bool {
        self.is_daemon && !self.is_pass
    }

    /// For people: who does this.
    pub fn who(&self) -> String {
        match &self.user {
            Some(user) => format!("{user} ({})", self.instance),
            None => self.instance.clone(),
        }
    }
}

/// What a run is to achieve. Interrupted work is settled in any case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// Settle what is open and due.
    Settle,
    /// Rotate the token, then settle.
    Rotate(RotationRequest),
    /// Make this retiring token the current value again, or the previous one if none is named; nothing else.
    Undo(Option<TokenId>),
    /// The secret left the configuration: finish its retirements and close its document; nothing is minted.
    Release,
    /// Make this retiring token the current value again, although it was revoked.
    Unrevoke(TokenId),
    /// End a token at once; if it is the current value, the secret gets another one first.
    Revoke(RevokeRequest),
    /// Drop this entry from the retiring tokens; the token is left as it is.
    Forget(TokenId),
    /// Record this token, whose value is in Vault, although nothing proves that the value is this token's.
    Adopt(TokenId),
    /// Begin nothing until the pause ends.
    Pause(Pause),
    /// End the pause.
    Resume,
}

/// A token that is to be ended at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevokeRequest {
    /// The order as it is written into the document.
    pub revocation: Revocation,
    /// A person has seen and confirmed the rights that only the journal knows.
    pub accept_recorded_rights: bool,
    /// A person wants it although the secret is paused or switched off.
    pub overrides: bool,
}

/// A rotation that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RotationRequest {
    /// The nominal due instant to serve; none for a command.
    pub due: Option<Timestamp>,
    /// Who or what wants it.
    pub trigger: Trigger,
    /// A person has seen and confirmed the rights that only the journal knows.
    pub accept_recorded_rights: bool,
}

/// Reasons to look closer than the journal asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Read the secret, whatever else there is to do: a person may have put another value there.
    pub reread_secret: bool,
    /// Check the current token: it may be invalid, or a stuck secret may have recovered.
    pub recheck_token: bool,
}

/// Whether the local clock agrees with the servers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// It does.
    Agrees,
    /// No server has returned its time yet: nothing is ended.
    Unknown,
    /// It does not: nothing is ended, and nothing is due.
    Disagrees,
}

/// The surroundings of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunEnv {
    /// The identity of a secret that is seen for the first time.
    pub fresh_epoch: Epoch,
    /// What the kind of token can do.
    pub capabilities: Capabilities,
    /// The store keeps numbered versions.
    pub history: bool,
    /// The secret is switched on. If not, nothing of it is begun; a claim that is held is finished.
    pub enabled: bool,
    /// Without an agreement nothing is ended.
    pub clock: Clock,
    /// No consumer is cut off before this: a blackout.
    pub blackout_until: Option<Timestamp>,
    /// Retirements that are due are this run's work.
    pub may_retire: bool,
    /// The current tokens of the configured secrets.
    pub current_tokens: Arc<CurrentTokens>,
    /// Tokens that are in use for managing tokens. They are never disabled or deleted.
    pub management_tokens: Arc<Vec<TokenId>>,
    /// The identities of the secrets' documents, to find one that is used twice; none while they are not all known.
    pub epochs: Option<Arc<Epochs>>,
    /// The last outage of Vault that this process saw the end of.
    pub outage: Option<Outage>,
}

/// What this process already knows of the secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// The journal document as last seen.
    pub journal: Option<JournalSnapshot>,
    /// How long that has been unchanged.
    pub observation: Option<ClaimObservation>,
    /// A full listing of this environment's marked tokens.
    pub listing: Option<Listing>,
}

/// Everything that a run is started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunRequest {
    /// The settings of the secret.
    pub plan: Arc<Plan>,
    /// In whose name claims are taken.
    pub holder: Holder,
    /// Random mark of this run: the nonce of its claims and the `rotation_id` of its log lines.
    pub id: String,
    /// What is wanted.
    pub goal: Goal,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Reasons to look closer.
    pub hints: Hints,
    /// What holds around the run.
    pub env: RunEnv,
    /// What earlier runs found out.
    pub known: Known,
}

impl RunRequest {
    /// The rotation that is wanted.
    pub fn rotation(&self) -> Option<&RotationRequest> {
        match &self.goal {
            Goal::Rotate(request) => Some(request),
            _ => None,
        }
    }
}

/// How long a journal version has been unchanged, on the observer's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimObservation {
    /// The version of the document that bears the claim.
    pub version: u64,
    /// When it was first seen.
    pub since: Duration,
}

/// A time in which Vault could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outage {
    /// Its beginning; none = it had begun when this process started, nobody knows when.
    pub since: Option<Timestamp>,
    /// When it could be used again.
    pub until: Timestamp,
}

/// Current tokens, and the names of the secrets that hold them.
pub type CurrentTokens = Index<TokenId, Vec<Arc<str>>>;

/// The identities of documents, and the secrets that have them.
pub type Epochs = Index<Epoch, Vec<Arc<Plan>>>;

/// The journal document as last read or acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JournalSnapshot {
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
