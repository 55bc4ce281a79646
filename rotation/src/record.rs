//! The journal document of one secret: ids, names, times and outcomes. No field of it could hold a token value.
//!
//! It is written by check-and-set only, and only by the holder of its claim (or to take or release one).

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Level, Report};
use super::plan::{Coordinates, Terms};
pub use super::reason::Reason;
use super::token::{Epoch, Marker, TokenId, TokenInfo};

/// The newest document layout that this version understands.
pub const SCHEMA: u32 = 1;

/// How many events a document keeps: enough for the story of several rotations, small enough to read at a glance.
pub const EVENTS: usize = 20;

/// One secret's document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Layout of the document; a higher one than [`SCHEMA`] is not touched.
    pub schema: u32,
    /// Random mark of the last write, to settle a write whose answer was lost.
    pub write_id: String,
    /// The secret's name in the configuration.
    pub name: String,
    /// Installation and secret: the constant part of every marker.
    pub epoch: Epoch,
    /// What the configuration said when the document was last written for it.
    pub coordinates: Coordinates,
    /// When dtrotate first saw the secret.
    pub adopted_at: Timestamp,
    /// The highest attempt number ever given out.
    pub attempt: u64,
    /// The token that is the current value, as far as the journal knows.
    pub current: Option<Current>,
    /// The nominal due instant served last.
    pub last_due: Option<Timestamp>,
    /// Who works on this secret now.
    pub claim: Option<Claim>,
    /// Attempts that may have left a token behind.
    #[serde(default)]
    pub open: Vec<OpenAttempt>,
    /// Former tokens on their way out.
    #[serde(default)]
    pub retiring: Vec<Retiring>,
    /// When the last rotation succeeded.
    pub last_success: Option<Timestamp>,
    /// The failure since the last success, if there is one.
    pub failure: Option<Failure>,
    /// Retirement stands still until then: Vault went back in time, and what is current must settle first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<Timestamp>,
    /// The current token was seen not to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Invalid>,
    /// What its retirements go by when its secret has left the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// Its secret left the configuration and its retirements are finished, or it goes on under another name: nothing is done for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The name under which it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<String>,
    /// The last events, oldest first.
    #[serde(default)]
    pub events: VecDeque<Event>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The current token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Current {
    /// Its id.
    pub id: TokenId,
    /// The name people gave, without markers.
    pub name_base: String,
    /// Its rights: the template for the next one.
    pub scopes: Vec<String>,
    /// Its owner, where the environment tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it ends; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The version of the secret in which it was seen or stored.
    pub version: u64,
    /// dtrotate minted it for this secret: its name bears our marker.
    pub marked: bool,
    /// Fields of a newer version, as in the document itself.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

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
        /// Why it runs.
        trigger: Trigger,
        /// The attempt, once its base is known. Written before the mint.
        attempt: Option<Attempt>,
    },
    /// Settle open attempts: list, fence, delete what was never stored.
    Tidy,
    /// Disable the retiring token.
    Disable {
        /// Which.
        id: TokenId,
    },
    /// Delete the retiring token.
    Delete {
        /// Which.
        id: TokenId,
    },
    /// Bring the previous token back.
    Undo {
        /// Which.
        id: TokenId,
        /// The only version of the secret that its value may replace.
        base: u64,
        /// The version of the secret from which its value is read.
        from: u64,
    },
}

/// One try to mint and store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, in the marker of the token it mints.
    pub n: u64,
    /// The version of the secret that the store will check-and-set against. Never another one.
    pub base: u64,
    /// The token it replaces.
    pub old: TokenId,
}

/// Why a rotation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// Its due time came.
    Schedule,
    /// A due time passed unserved.
    Missed,
    /// The token would end too soon.
    Expiry,
    /// The sweep found the current value dead.
    Sweep,
    /// An earlier try failed.
    Retry,
    /// A person asked.
    Command,
    /// A dead holder left it unfinished.
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
            Trigger::Recovery => "recovery",
        }
    }
}

/// An attempt that may have left a token behind: its mint or its store was not seen to the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenAttempt {
    /// Its number.
    pub attempt: u64,
    /// Its base. A token of it may be disabled or deleted only once the secret's version is past this.
    pub base: u64,
    /// When it was given up.
    pub since: Timestamp,
    /// The due instant that it was to serve: served after all, if its token turns out to have been stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// The first full listing after `since` in which no token of it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Timestamp>,
    /// Fields of a newer version, as in the document itself.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A former token on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retiring {
    /// Its id.
    pub id: TokenId,
    /// How far it is.
    pub state: RetiringState,
    /// The version of the secret since which it is not current.
    pub base: u64,
    /// When its grace began.
    pub since: Timestamp,
    /// When the next step is due.
    pub due: Timestamp,
    /// A disable was sent whose outcome is not known, or whose sender died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted: Option<Timestamp>,
    /// Why dtrotate may end it.
    pub proof: Proof,
    /// The environment it belongs to. Its retirement is never carried out against another.
    pub base_url: String,
    /// Its grace is extended since it is still used; the moment that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Timestamp>,
    /// Outages of Vault up to here are counted into `due`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_to: Option<Timestamp>,
    /// The address it was last used from after its successor was stored, as the environment told at the end of its grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_from: Option<String>,
    /// Fields of a newer version, as in the document itself.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// How far a retiring token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetiringState {
    /// Works on until `due`.
    Grace,
    /// The call to disable it may have been sent.
    Disabling,
    /// Stands disabled until `due`.
    Quarantine,
    /// The call to delete it may have been sent: the point of no return.
    Deleting,
}

/// Why dtrotate may disable and delete a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Its name bears this secret's marker.
    Marker,
    /// Its value stood in this version of this secret.
    Version(u64),
}

/// The current token was seen not to work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Invalid {
    /// Since when that is known.
    pub since: Timestamp,
    /// The sentence that says what is wrong with it and what to do.
    pub message: String,
}

/// A failure that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub reason: Reason,
    /// The sentence that says what happened and what to do.
    pub message: String,
    /// When it was first seen.
    pub since: Timestamp,
    /// When it was last seen.
    pub at: Timestamp,
    /// How many times in a row.
    pub count: u32,
    /// When it is tried again by itself; none = stuck until the next due time, a change of its configuration, or a person.
    pub retry_at: Option<Timestamp>,
}

/// One line of the document's own history, in the words of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The stable identifier.
    pub event: String,
    /// The token it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// More, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Fields of a newer version, as in the document itself.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Attempt {
    /// The attempt is given up at `since`: it may have left a token behind.
    pub fn opened(&self, due: Option<Timestamp>, since: Timestamp) -> OpenAttempt {
        OpenAttempt {
            attempt: self.n,
            base: self.base,
            since,
            due,
            missed: None,
            unknown: Map::new(),
        }
    }
}

impl Record {
    /// Keeps the events worth keeping, the last [`EVENTS`] of them.
    pub fn remember(&mut self, reports: &[Report], at: Timestamp) {
        for report in reports.iter().filter(|report| report.level > Level::Debug) {
            self.events.push_back(report.entry(at));
        }
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    /// Drops what only people read: the events, the last success, the story of the failure.
    #[doc(hidden)]
    pub fn forget_history(&mut self) {
        self.events.clear();
        self.last_success = None;
        if let Some(failure) = &mut self.failure {
            failure.message.clear();
            failure.count = 1;
            failure.since = Timestamp::UNIX_EPOCH;
            failure.at = Timestamp::UNIX_EPOCH;
        }
    }

    /// Nothing is left to be finished.
    pub fn is_finished(&self) -> bool {
        self.claim.is_none() && self.open.is_empty() && self.retiring.is_empty()
    }

    /// This document, closed since it goes on under the name `name`. From this write on nobody works by it.
    pub fn closed_for(&self, name: &str, now: Timestamp) -> Record {
        Record {
            closed_at: Some(now),
            renamed_to: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// The document with which a closed one goes on as `name`: the same story, whoever writes it.
    pub fn carried_over(&self, name: &str) -> Record {
        Record {
            name: name.to_owned(),
            closed_at: None,
            renamed_to: None,
            ..self.clone()
        }
    }

    /// The entry of a token on its way out.
    pub fn retiring(&self, id: &TokenId) -> Option<&Retiring> {
        self.retiring.iter().find(|entry| entry.id == *id)
    }

    /// The token is the current one as far as the journal knows.
    pub fn is_current(&self, id: &TokenId) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.id == *id)
    }
}

impl Current {
    /// From what the environment tells of the token in `version` of the secret.
    pub fn new(info: &TokenInfo, version: u64, epoch: &Epoch) -> Self {
        let (name_base, marker) = Marker::split(&info.name);
        Current {
            id: info.id.clone(),
            name_base,
            scopes: info.scopes.clone(),
            owner: info.owner.clone(),
            created: info.created,
            expires: info.expires,
            version,
            marked: marker.is_some_and(|marker| marker.epoch == *epoch),
            unknown: Map::new(),
        }
    }
}
