//! The journal document of one secret: ids, names, times and outcomes. No field of it can hold a token value.
//!
//! It is written by check-and-set only, and only by the holder of its claim (or to take or release one). Every table keeps the fields of
//! a newer version.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::announcement::Announcement;
pub use super::claim::{Attempt, Begin, Claim, OpenAttempt, Trigger, Work};
use super::ledger::AttemptLedger;
use super::marker::{Epoch, Marker, NameDigest};
use super::pause::Pause;
use super::plan::{
    AtMaxGrace, Coordinates, Desired, Lifetime, Plan, RetirementPolicy, Terms, Verification,
};
pub use super::reason::Reason;
pub use super::retiring::{EntryFailure, EntryReason, Origin, Retiring, RetiringState};
pub use super::revocation::{Revocation, Revoked};
use super::token::{TokenId, TokenInfo, Traits};

/// The document layout that this version writes.
pub const SCHEMA: u32 = 2;

/// The oldest version that can read what this version writes.
pub const MIN_READER: u32 = 2;

/// How many copies of marked names a document notes, so that each is reported once. Further ones are left alone without a word.
const LEFT_ALONE: usize = 100;

/// One secret's document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Layout of the document.
    pub schema: u32,
    /// A version that understands less than this must not touch the document.
    #[serde(default)]
    pub min_reader: u32,
    /// Random mark of the last write, to settle a write whose answer was lost.
    pub write_id: String,
    /// The process that wrote it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Writer>,
    /// The secret's name in the configuration.
    pub name: String,
    /// Installation and secret: the constant part of every marker.
    pub epoch: Epoch,
    /// Where the secret is, as configured when the document was last written for it.
    pub coordinates: Coordinates,
    /// When dtrotate first saw the secret.
    pub adopted_at: Timestamp,
    /// Numbers, ledger of names, tokens left alone.
    #[serde(flatten)]
    pub attempts: Attempts,
    /// The token that is the current value, as far as the journal knows.
    pub current: Option<Current>,
    /// The last current token, while there is no other: it was revoked without a replacement. The next one gets its rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreplaced: Option<Box<Current>>,
    /// A token was recorded before, and is no longer, because the document was closed meanwhile: the first one is not made again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_before: bool,
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
    /// A token of this secret is to be ended at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoking: Option<Revocation>,
    /// Nothing of it is begun until this ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// When the last pause ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Timestamp>,
    /// The last rotation, while a route has yet to get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<Announcement>,
    /// What is wrong, and what was right last.
    #[serde(flatten)]
    pub health: Health,
    /// What its retirements go by when its secret has left the configuration.
    #[serde(default, rename = "terms", skip_serializing_if = "Option::is_none")]
    pub policy: Option<RetirementPolicy>,
    /// Its secret left the configuration and its retirements are finished, or it continues under another name: nothing is done for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The name under which it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<String>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A process that wrote a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Writer {
    /// Its instance name.
    pub instance: String,
    /// Its random mark, which distinguishes two processes of one name.
    pub boot: String,
    /// It is a daemon, not a command.
    pub daemon: bool,
    /// When it wrote, by its clock.
    pub at: Timestamp,
}

/// The numbers of a secret's attempts and what is known of the tokens they made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempts {
    /// The highest attempt number ever given out.
    pub attempt: u64,
    /// Attempts up to this number were made before this document, so a token of them may be unknown to it.
    #[serde(default)]
    pub unaccounted_through: u64,
    /// The digests of the names of the last closed attempts.
    #[serde(default, skip_serializing_if = "AttemptLedger::is_empty")]
    pub ledger: AttemptLedger,
    /// Tokens whose name bears this secret's marker although dtrotate did not make them. Each was reported once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<TokenId>,
}

/// What is wrong with a secret, and what was right last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Health {
    /// When the last rotation succeeded.
    pub last_success: Option<Timestamp>,
    /// The failure since the last success, if there is one.
    pub failure: Option<Failure>,
    /// No retirement before this: Vault was restored from a backup, and what is current must settle first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<Timestamp>,
    /// Vault was restored from a backup at this time, and nothing was stored since: a dead value is replaced at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went_back_at: Option<Timestamp>,
    /// The current token was found not to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Invalid>,
    /// The last two times that someone put a former value back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reverts: Vec<Revert>,
}

/// Someone other than dtrotate put a former value back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revert {
    /// The token that is in the value.
    pub id: TokenId,
    /// The version of the secret in which it was found.
    pub version: u64,
    /// When it was found.
    pub at: Timestamp,
}

/// The current token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Current {
    /// The id that its value shows.
    pub id: TokenId,
    /// The name that people gave, without markers.
    pub name_base: String,
    /// Its rights, as read when it was recorded. They are evidence, not the source of a new token's rights (rule A3).
    pub scopes: Vec<String>,
    /// Its owner, where the environment returns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it expires; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The version of the secret in which it was seen or stored.
    pub version: u64,
    /// dtrotate minted it for this secret: its name bears our marker.
    pub marked: bool,
    /// The digest of its name, if it bears our marker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NameDigest>,
    /// What its successor must have in common with it beside the rights.
    #[serde(default, skip_serializing_if = "Traits::is_empty")]
    pub traits: Traits,
    /// For how long it was minted, where the issuer does not return when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<SignedDuration>,
    /// It was accepted although nothing proved that its value works.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// A person named it when it was adopted, because nothing proved that the value is this token's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The current token was found not to work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Invalid {
    /// When that was found.
    pub since: Timestamp,
    /// The sentence that says what is wrong with it and what to do.
    pub message: String,
    /// `rotate` does not replace it: a person disabled the token, or put there what is not this secret's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
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
    /// When it is retried automatically; none = stuck until the next due time, a change of its configuration, or a person.
    pub retry_at: Option<Timestamp>,
}

impl Record {
    /// The current token, or the last one while there is no other.
    pub fn recorded(&self) -> Option<&Current> {
        self.current.as_ref().or(self.unreplaced.as_deref())
    }

    /// An empty document of a secret that is seen for the first time.
    pub fn blank(name: &str, epoch: Epoch, coordinates: Coordinates, now: Timestamp) -> Record {
        Record {
            schema: SCHEMA,
            min_reader: MIN_READER,
            write_id: String::new(),
            writer: None,
            name: name.to_owned(),
            epoch,
            coordinates,
            adopted_at: now,
            attempts: Attempts::default(),
            current: None,
            unreplaced: None,
            held_before: false,
            last_due: None,
            claim: None,
            open: vec![],
            retiring: vec![],
            revoking: None,
            pause: None,
            resumed_at: None,
            announcement: None,
            health: Health::default(),
            policy: None,
            closed_at: None,
            renamed_to: None,
            unknown: Map::new(),
        }
    }

    /// The same document in the layout of this version. What version 1 kept of events is dropped: the history is a separate document.
    pub fn upgraded(mut self) -> Record {
        if self.schema < SCHEMA {
            self.schema = SCHEMA;
            self.min_reader = MIN_READER;
            self.attempts.unaccounted_through = self.attempts.attempt;
            self.unknown.remove("events");
        }
        self
    }

    /// What a secret that left the configuration is finished by: its document, and the environment's own times.
    pub fn release_plan(
        &self,
        environment: &str,
        service: &str,
        settle: Duration,
        claim_timeout: Duration,
    ) -> Plan {
        let policy = self.policy.clone().unwrap_or_default();
        let length = |signed| Duration::try_from(signed).unwrap_or_default();
        let mut coordinates = self.coordinates.clone();
        coordinates.environment = environment.to_owned();
        let terms = Terms {
            grace: length(policy.grace),
            max_grace: length(policy.max_grace),
            quarantine: length(policy.quarantine),
            still_used: policy.still_used,
            lifetime: Lifetime::Inherit,
            settle,
            claim_timeout,
            desired: Desired::default(),
            manages_tokens: false,
            verify: Verification::Auto,
            at_max_grace: AtMaxGrace::Leave,
            announces: false,
            service: service.to_owned(),
        };
        Plan {
            name: self.name.clone(),
            coordinates,
            terms: Arc::new(terms),
        }
    }

    /// The pause, unless its time is up.
    pub fn paused(&self, now: Timestamp) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| !pause.is_over(now))
    }

    /// Nothing is left to be finished.
    pub fn is_finished(&self) -> bool {
        let idle = self.claim.is_none() && self.revoking.is_none();
        idle && self.open.is_empty() && self.retiring.is_empty()
    }

    /// This document, closed because it continues under the name `name`. After this write nobody works by it.
    pub fn closed_for(&self, name: &str, now: Timestamp) -> Record {
        Record {
            closed_at: Some(now),
            renamed_to: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// The document with which a closed one continues as `name`: the same content, whoever writes it.
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

    /// The same, to change it. One that only a newer version understands is not changed.
    pub fn retiring_mut(&mut self, id: &TokenId) -> Option<&mut Retiring> {
        let entry = self.retiring.iter_mut().find(|entry| entry.id == *id);
        entry.filter(|entry| !entry.is_newer())
    }

    /// The token is to be ended at once, or was: it never becomes the current value again without a person who says so.
    pub fn is_revoked(&self, id: &TokenId) -> bool {
        let ordered = self.revoking.as_ref().is_some_and(|it| it.token == *id);
        ordered
            || self
                .retiring(id)
                .is_some_and(|entry| entry.revoked.is_some())
    }

    /// The attempt of the claimed rotation.
    pub fn claimed_attempt(&self) -> Option<&Attempt> {
        self.claim.as_ref()?.attempt()
    }

    /// The id of the token that is the current one as far as the journal knows.
    pub fn current_id(&self) -> Option<&TokenId> {
        self.current.as_ref().map(|current| &current.id)
    }

    /// The token is the current one as far as the journal knows.
    pub fn is_current(&self, id: &TokenId) -> bool {
        self.current_id() == Some(id)
    }

    /// A failure that only a person, a change or the next due time resolves.
    pub fn stuck(&self) -> Option<&Failure> {
        let failure = self.health.failure.as_ref();
        failure.filter(|failure| failure.retry_at.is_none())
    }

    /// Notes that a token with our marker is left alone.
    pub fn leave_alone(&mut self, id: &TokenId) {
        let known = &mut self.attempts.left_alone;
        if !known.contains(id) {
            known.push(id.clone());
        }
    }

    /// How many copies may still be noted and reported. None of them is dropped for another one: it would be reported again.
    pub fn room_to_leave_alone(&self) -> usize {
        LEFT_ALONE.saturating_sub(self.attempts.left_alone.len())
    }
}

impl Current {
    /// From what the environment returns about the token in `version` of the secret.
    pub fn new(info: &TokenInfo, version: u64, epoch: &Epoch) -> Self {
        let (name_base, _) = Marker::split(&info.name);
        let marked = Marker::of(&info.name, epoch).is_some();
        Current {
            id: info.id.clone(),
            name_base,
            scopes: info.scopes.clone(),
            owner: info.owner.clone(),
            created: info.created,
            expires: info.expires,
            version,
            marked,
            digest: marked.then(|| NameDigest::of(&info.name)),
            traits: info.traits.clone(),
            lifetime: None,
            unproven: false,
            named: false,
            unknown: Map::new(),
        }
    }

    /// When it was created, or minted with the life that it has.
    pub fn began(&self) -> Option<Timestamp> {
        let minted = || self.expires?.checked_sub(self.lifetime?).ok();
        self.created.or_else(minted)
    }

    /// The same; what only the document knows of the token is kept.
    pub fn recorded(info: &TokenInfo, version: u64, record: &Record) -> Self {
        let new = Current::new(info, version, &record.epoch);
        match record.current.as_ref().filter(|it| it.id == info.id) {
            Some(known) => Current {
                lifetime: known.lifetime,
                unproven: known.unproven,
                named: known.named,
                unknown: known.unknown.clone(),
                ..new
            },
            None => Current {
                named: record.retiring(&info.id).is_some_and(|it| it.named),
                ..new
            },
        }
    }
}
