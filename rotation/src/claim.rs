//! The claim on a secret, the attempt under it, and attempts that may have left a token behind.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::marker::NameDigest;
use super::newer_word::NewerWord;
use super::token::TokenId;

/// Who works on the secret, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// What the holder does.
    pub work: Work,
    /// The instance name of the holder: a restarted daemon of the same name resumes at once.
    pub holder: String,
    /// Random mark of the holder's process.
    pub boot: String,
    /// Random mark of this claim; also the `rotation_id` of the logs.
    pub nonce: String,
    /// When it was taken, by the holder's clock. For people: expiry is judged by the observer's own monotonic clock.
    pub since: Timestamp,
    /// Counts renewals, so that a renewed claim differs from an abandoned one.
    #[serde(default)]
    pub renewed: u32,
}

/// The work under a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Mint and store a new token.
    Rotate {
        /// The due instant that this rotation serves; none for a command.
        due: Option<Timestamp>,
        /// What made it due.
        trigger: Trigger,
        /// The attempt, once its base is known. Written before the mint.
        attempt: Option<Attempt>,
    },
    /// Settle open attempts: list, fence, delete what was never stored.
    #[serde(alias = "tidy")]
    Cleanup,
    /// Disable the retiring token.
    Disable {
        /// The token, which stays in the list of retiring ones.
        id: TokenId,
    },
    /// Move the expiry of the retiring token to its backstop.
    Redate {
        /// The token, which stays in the list of retiring ones.
        id: TokenId,
    },
    /// Delete the retiring token.
    Delete {
        /// The token, which leaves the list of retiring ones with its deletion.
        id: TokenId,
    },
    /// Make the previous token the current value again.
    Undo {
        /// The former token; it has to be enabled first where it is in quarantine.
        id: TokenId,
        /// The only version of the secret that its value may replace.
        base: u64,
        /// The version of the secret from which its value is read.
        from: u64,
    },
    /// What a newer version wrote.
    #[serde(untagged)]
    Newer(NewerWord),
}

/// One attempt to mint and store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, in the marker of the token it mints.
    pub n: u64,
    /// The version of the secret that the store will check-and-set against.
    pub base: u64,
    /// The token it replaces; none = it makes the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<TokenId>,
    /// The digest of the name that it orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NameDigest>,
    /// What its token cannot be older than.
    #[serde(flatten)]
    pub begin: Begin,
}

/// When an attempt began. Vault may be restored to a time before a number was given out, which is then given out once more: a token that is older
/// than the attempt with its number is not this attempt's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Begin {
    /// When it began, by its holder's clock; none = an older version did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// When a token that is minted at that moment expires; none = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// An attempt that may have left a token behind: the outcome of its mint or its store is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenAttempt {
    /// Its number, the N of the marker that its token bears.
    pub attempt: u64,
    /// Its base. A token of it may be disabled or deleted only once the secret's version is past this.
    pub base: u64,
    /// When it was given up.
    pub since: Timestamp,
    /// The digest of the name that it ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NameDigest>,
    /// What its token cannot be older than.
    #[serde(flatten)]
    pub begin: Begin,
    /// The due instant that it was to serve: served after all, if its token turns out to have been stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// The first full listing after `since` that showed no token of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Timestamp>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Why a rotation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// Its due time came.
    Schedule,
    /// A due time was missed.
    Missed,
    /// The token would expire too soon.
    Expiry,
    /// The sweep found the current value dead after Vault was restored.
    Sweep,
    /// An earlier attempt failed.
    Retry,
    /// A person asked.
    Command,
    /// Nothing was there, and the configuration asks for a first token.
    Create,
    /// Another holder left it unfinished.
    Recovery,
}

impl Trigger {
    /// The word in logs and journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::Missed => "missed",
            Trigger::Expiry => "expiry",
            Trigger::Sweep => "sweep",
            Trigger::Retry => "retry",
            Trigger::Command => "command",
            Trigger::Create => "create",
            Trigger::Recovery => "recovery",
        }
    }
}

impl Claim {
    /// The due instant that the claimed rotation serves. One that a person asked for serves what was due when they asked.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.work {
            Work::Rotate {
                trigger: Trigger::Command,
                ..
            } => Some(self.since),
            Work::Rotate { due, .. } => *due,
            _ => None,
        }
    }

    /// The attempt of the claimed rotation.
    pub fn attempt(&self) -> Option<&Attempt> {
        match &self.work {
            Work::Rotate { attempt, .. } => attempt.as_ref(),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.work {
            Work::Rotate { attempt, .. } => attempt.as_mut(),
            _ => None,
        }
    }

    /// The claim is on a rotation.
    pub fn is_rotation(&self) -> bool {
        matches!(self.work, Work::Rotate { .. })
    }
}

impl Attempt {
    /// The attempt is given up at `since`: it may have left a token behind.
    pub fn opened(&self, due: Option<Timestamp>, since: Timestamp) -> OpenAttempt {
        OpenAttempt {
            attempt: self.n,
            base: self.base,
            since,
            digest: self.digest.clone(),
            begin: self.begin,
            due,
            missed: None,
            unknown: Map::new(),
        }
    }
}
