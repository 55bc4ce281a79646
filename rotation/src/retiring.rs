//! A former token on its way out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::EventName;
use super::marker::NameDigest;
use super::newer_word::NewerWord;
use super::reason::Reason;
use super::revocation::Revoked;
use super::token::{TokenId, TokenInfo};

/// A former token on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retiring {
    /// The token.
    pub id: TokenId,
    /// How far its retirement is.
    pub state: RetiringState,
    /// The version of the secret since which it is not current.
    pub base: u64,
    /// No version after `base` up to this one holds the token. Moved only over versions whose content is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clean_through: u64,
    /// When its grace began.
    pub since: Timestamp,
    /// When the next step is due.
    pub due: Timestamp,
    /// A disable was sent whose outcome is not known, or whose sender died, at this time.
    #[serde(default, rename = "tainted", skip_serializing_if = "Option::is_none")]
    pub disable_unconfirmed_since: Option<Timestamp>,
    /// Where it came from. Evidence for people and a place to look for proof; never proof itself (rule A2).
    #[serde(rename = "proof")]
    pub origin: Origin,
    /// The digest of its marked name, as read when it was put here or renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NameDigest>,
    /// The URL of its environment. It is never ended at another one.
    pub base_url: String,
    /// How its use was seen.
    #[serde(flatten)]
    pub usage: Usage,
    /// Outages of Vault up to here are counted into `due`.
    #[serde(
        default,
        rename = "extended_to",
        skip_serializing_if = "Option::is_none"
    )]
    pub outage_counted_until: Option<Timestamp>,
    /// The first complete listing that did not show it, where only listings prove absence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Timestamp>,
    /// The expiry that it got when it left use, where an expiry can be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backstop: Option<Backstop>,
    /// A person named it when it was adopted, and nothing proves that its value was this token's: it ends by its backstop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
    /// What keeps its next step from being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<EntryFailure>,
    /// It retires because an earlier token became current again, so bringing it back would undo an undo.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undone: bool,
    /// A person revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The expiry of a former token that ends it even if dtrotate never runs again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backstop {
    /// When it expires.
    pub at: Timestamp,
    /// When it expired before; none = never.
    #[serde(default)]
    pub original: Option<Timestamp>,
    /// The backstop that this one replaces: it holds until the change is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Timestamp>,
    /// It was read, or its change was acknowledged.
    #[serde(default)]
    pub confirmed: bool,
    /// How many changes failed in a row.
    #[serde(default, skip_serializing_if = "no_tries")]
    pub tries: u32,
    /// It is tried again at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

impl Backstop {
    /// A backstop that is still to be set at the service.
    pub fn new(at: Timestamp, original: Option<Timestamp>) -> Self {
        Backstop {
            at,
            original,
            former: None,
            confirmed: false,
            tries: 0,
            retry_at: None,
        }
    }

    /// The expiry as it is, because it cannot be moved now.
    pub fn none(info: &TokenInfo) -> Self {
        Backstop::new(info.expires.unwrap_or(Timestamp::MAX), info.expires)
    }

    /// The same, in place of an earlier one.
    pub fn replacing(self, earlier: Option<&Backstop>) -> Self {
        Backstop {
            former: earlier.map(|it| it.at),
            ..self
        }
    }

    /// dtrotate set this expiry.
    pub fn has_set(&self, expires: Option<Timestamp>) -> bool {
        expires == Some(self.at) || (expires.is_some() && expires == self.former)
    }

    /// It is another expiry than the token had before.
    pub fn is_moved(&self) -> bool {
        self.original != Some(self.at)
    }
}

/// How the use of a retiring token was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Its grace is extended because it is still used, since this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Timestamp>,
    /// The address it was last used from after its successor was stored, as the environment returned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_from: Option<String>,
    /// It was disabled at this time although it was still used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off_at: Option<Timestamp>,
    /// dtrotate was about to try its value at this time, which looks like a use of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_at: Option<Timestamp>,
}

/// How far a retirement is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetiringState {
    /// Enabled until `due`.
    Grace,
    /// The call to disable it may have been sent.
    Disabling,
    /// Disabled until `due`.
    Quarantine,
    /// The call to delete it may have been sent: the point of no return.
    Deleting,
    /// What a newer version wrote.
    #[serde(untagged)]
    Newer(NewerWord),
}

/// What a person must do about a retiring token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable identifier of its event.
    pub event: String,
    /// The sentence that says what happened and what to do.
    pub message: String,
    /// When it was first found.
    pub since: Timestamp,
}

/// Where a retiring token came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was found with this secret's marker.
    Marker,
    /// Its value was in this version of this secret.
    Version(u64),
    /// What a newer version wrote.
    #[serde(untagged)]
    Newer(NewerWord),
}

/// What keeps the next step of a retirement from being done. It belongs to this token alone: the others retire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EntryFailure {
    /// The stable code.
    pub reason: EntryReason,
    /// The sentence that says what happened and what to do.
    pub message: String,
    /// When it was first seen.
    pub since: Timestamp,
    /// How many times in a row.
    pub attempts: u32,
}

/// Why the next step of a retirement cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryReason {
    /// It cannot be proven to be this secret's own.
    Unproven,
    /// The environment refused the call.
    Refused,
    /// It cannot be disabled and is still used.
    StillUsed,
    /// The environment could not be reached or gave no clear answer.
    Unavailable,
    /// It is another secret's current token as well.
    Shared,
    /// What a newer version wrote.
    #[serde(untagged)]
    Newer(NewerWord),
}

impl EntryReason {
    /// The word in logs and status.
    pub fn as_str(&self) -> &str {
        match self {
            EntryReason::Unproven => "unproven",
            EntryReason::Refused => Reason::RetirementRefused.as_str(),
            EntryReason::StillUsed => "still_used",
            EntryReason::Unavailable => Reason::Unavailable.as_str(),
            EntryReason::Shared => "shared",
            EntryReason::Newer(word) => word.as_str(),
        }
    }

    /// Only a person resolves it. A token that another secret holds as well retires after that secret's next rotation.
    pub fn needs_human(&self) -> bool {
        !matches!(self, EntryReason::Unavailable | EntryReason::Shared)
    }
}

impl Retiring {
    /// Only a newer version knows how far it is: it is left alone.
    pub fn is_newer(&self) -> bool {
        matches!(self.state, RetiringState::Newer(_))
    }

    /// A person revoked it, and it is not known to be disabled. Neither a pause nor a switch keeps it.
    pub fn is_revoked_alive(&self) -> bool {
        let is_alive = matches!(self.state, RetiringState::Grace | RetiringState::Disabling);
        self.revoked.is_some() && is_alive
    }

    /// What a person must do about it, for the secret named `secret`.
    pub fn problems(&self, secret: &str) -> Vec<Problem> {
        if self.is_newer() {
            return vec![Problem {
                event: EventName::RetirementBlocked.as_str().to_owned(),
                message: format!(
                    "only a newer version of dtrotate knows how {} retires, so it is left alone. Start that version again, or end the token by \
                     hand and run `dtrotate forget {secret} --token {}`",
                    self.id, self.id
                ),
                since: self.since,
            }];
        }
        let blocked = self
            .failure
            .as_ref()
            .filter(|failure| failure.reason.needs_human());
        let blocked = blocked.map(|failure| Problem {
            event: EventName::RetirementBlocked.as_str().to_owned(),
            message: failure.message.clone(),
            since: failure.since,
        });
        let cut_off = self.usage.cut_off_at.map(|since| Problem {
            event: EventName::ConsumerCutOff.as_str().to_owned(),
            message: self.cut_off(secret),
            since,
        });
        blocked.into_iter().chain(cut_off).collect()
    }

    /// What happens to a token that is ended although it is still in use. `due` is the end of its quarantine only once that has begun.
    fn cut_off(&self, secret: &str) -> String {
        let id = &self.id;
        let from = self.usage.used_from.as_deref();
        let from = from.unwrap_or("an unknown address");
        match self.state {
            RetiringState::Deleting => format!(
                "{id} is being deleted, and was still in use at the end of its grace (last from {from}); make that consumer read the new value"
            ),
            RetiringState::Quarantine => format!(
                "{id} was disabled although it was still in use (last from {from}); `dtrotate undo {secret}` brings it back until {:.0}",
                self.due
            ),
            _ => format!(
                "{id} is being disabled although it is still in use (last from {from}); `dtrotate undo {secret}` brings it back until its quarantine \
                 is over"
            ),
        }
    }

    /// Its grace is extended because another secret holds it as well.
    pub fn shared(&self) -> Option<&EntryFailure> {
        let failure = self.failure.as_ref();
        failure.filter(|failure| failure.reason == EntryReason::Shared)
    }

    /// Since when its grace is extended because it is still in use; none = it is not, or the grace is over.
    pub fn held_since(&self) -> Option<Timestamp> {
        let is_in_grace = self.state == RetiringState::Grace;
        self.usage.held_since.filter(|_| is_in_grace)
    }

    /// The last version up to which it is known not to have been current.
    pub fn clean(&self) -> u64 {
        self.clean_through.max(self.base)
    }
}

fn no_tries(tries: &u32) -> bool {
    *tries == 0
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
