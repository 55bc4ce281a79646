//! Pruned tokens: tokens of no secret that a person had disabled and marked by `dtrotate prune`, and that are deleted after a quarantine. Here is the
//! document that records them and the decision what is to be done with one now; `run` says what is called in which order.
//!
//! The document alone never ends a token, nor brings one back. What is deleted bears the mark that was ordered for it and is still disabled, as read in
//! the same run; where tokens cannot be renamed, a person confirms it by a second command.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::marker::{Epoch, Marker, NameDigest};
use super::request::after;
use super::token::{TokenId, TokenInfo, manages_tokens};

mod command;
mod order;
mod phase;
mod run;

pub use command::{PruneCommand, PruneOutcome, PruneResult};
pub use order::PruneOrder;
pub use run::{PruneGoal, PruneRun};

/// The document of all pruned tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PruneRecord {
    /// One entry for each token, in the order in which they were added.
    pub tokens: Vec<PrunedToken>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A token that is disabled, or about to be, and is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrunedToken {
    /// The id, by which the service is asked.
    pub id: TokenId,
    /// The environment or account that issued it, and its URL: it is never ended at another one.
    pub service: String,
    /// The URL that it was issued at.
    pub base_url: String,
    /// Its name and whether it was enabled, for the way back.
    pub name: String,
    /// Whether it was enabled when it was ordered.
    pub enabled: bool,
    /// The digest of the marked name that was ordered; none where tokens cannot be renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NameDigest>,
    /// The person who ordered it, as Vault knows them.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// How far it is.
    pub state: PrunedState,
    /// When the state began.
    pub since: Timestamp,
    /// Since when the service does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Timestamp>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// How far a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrunedState {
    /// The call that disables and marks it is about to be sent, or was.
    Ordered,
    /// It was seen disabled and marked.
    Quarantine,
    /// The call that deletes it is about to be sent, or was: it is not brought back.
    Deleting,
    /// The call that brings it back is about to be sent, or was.
    Restoring,
}

/// A change of the entry of one token. It applies only to the entry that the decision was made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Edit {
    /// There is no entry of this token yet.
    Add(PrunedToken),
    /// The entry becomes another one.
    Replace {
        /// The entry that the decision was made from.
        from: PrunedToken,
        /// The entry as it is to be.
        to: Box<PrunedToken>,
    },
    /// The entry is removed.
    Drop(PrunedToken),
}

/// What came of a change of the document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edited {
    /// `false` = another process changed the entry first, and the document is as it was.
    pub applied: bool,
    /// The entry of the token now.
    pub entry: Option<PrunedToken>,
}

/// What is known around a token.
#[derive(Clone, Copy, Debug)]
pub struct PruneContext<'a> {
    /// The time at this machine.
    pub now: Timestamp,
    /// The local clock agrees with the servers'.
    pub clock_agrees: bool,
    /// The id of this installation, which its markers bear.
    pub installation: &'a str,
    /// The URL of its environment or account now; none = it is not configured.
    pub base_url: Option<&'a str>,
    /// How long a token stays disabled before it is deleted.
    pub quarantine: Duration,
    /// How long an effect may take to become visible.
    pub settle: Duration,
    /// A secret that holds the token.
    pub holder: Option<&'a str>,
    /// dtrotate manages tokens with it.
    pub is_management: bool,
    /// A person confirms the deletion in this very command.
    pub confirmed: bool,
}

/// What to do with a token now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PruneStep {
    /// Nothing before this time.
    Wait(Timestamp),
    /// It is disabled and marked: its quarantine begins.
    BeginQuarantine,
    /// The service does not know it, for the first time.
    NoteMissing,
    /// Nothing is left to do with it.
    Drop(PruneEnd),
    /// Give it back its name and its former state.
    Restore,
    /// Its quarantine is over: delete it.
    Delete,
    /// Only a person can say that it is to be deleted.
    Confirm,
    /// It is left alone: why.
    Block(String),
}

/// Why a token leaves the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PruneEnd {
    /// dtrotate deleted it.
    Deleted,
    /// Someone else deleted it, or it was purged.
    Gone,
    /// It was never disabled and marked.
    NotCarriedOut,
    /// Someone enabled it again.
    TakenBack,
    /// dtrotate gave it back its name and its state.
    Restored,
}

impl PruneContext<'_> {
    /// Why a token is never ended, whoever asks.
    fn protection(&self, info: &TokenInfo) -> Option<String> {
        if let Some(holder) = self.holder {
            return Some(format!("is the current token of {holder}"));
        }
        if self.is_management {
            return Some("is in use as a management token".to_owned());
        }
        manages_tokens(&info.scopes).then(|| "has rights to manage tokens".to_owned())
    }
}

/// The mark of a token that is pruned at this time.
pub fn mark(installation: &str, at: Timestamp) -> Marker {
    Marker {
        epoch: Epoch::pruned(installation),
        attempt: u64::try_from(at.as_second()).unwrap_or_default(),
    }
}

/// When this installation marked a token of this name; none = the name bears no mark of it.
pub fn marked_at(name: &str, installation: &str) -> Option<Timestamp> {
    let marker = Marker::split(name).1?;
    let ours = marker.epoch == Epoch::pruned(installation);
    let seconds = i64::try_from(marker.attempt).ok().filter(|_| ours)?;
    Timestamp::from_second(seconds).ok()
}

impl PruneRecord {
    /// The entry of a token.
    pub fn find(&self, id: &TokenId) -> Option<&PrunedToken> {
        self.tokens.iter().find(|token| token.id == *id)
    }
}

impl Edit {
    fn id(&self) -> &TokenId {
        match self {
            Edit::Add(entry) | Edit::Drop(entry) | Edit::Replace { from: entry, .. } => &entry.id,
        }
    }

    fn replace(from: PrunedToken, to: PrunedToken) -> Edit {
        let to = Box::new(to);
        Edit::Replace { from, to }
    }

    /// Changes the document, if the entry is still as it was.
    pub fn apply(&self, record: &mut PruneRecord) -> Edited {
        let tokens = &mut record.tokens;
        let at =
            |tokens: &[PrunedToken], seen: &PrunedToken| tokens.iter().position(|it| it == seen);
        let applied = match self {
            Edit::Add(entry) => {
                let is_new = tokens.iter().all(|token| token.id != entry.id);
                tokens.extend(is_new.then(|| entry.clone()));
                is_new
            }
            Edit::Replace { from, to } => match at(tokens, from) {
                Some(place) => {
                    tokens[place] = (**to).clone();
                    true
                }
                None => false,
            },
            Edit::Drop(entry) => match at(tokens, entry) {
                Some(place) => {
                    tokens.remove(place);
                    true
                }
                None => false,
            },
        };
        Edited {
            applied,
            entry: record.find(self.id()).cloned(),
        }
    }
}

impl PrunedToken {
    /// The entry in this state, which begins now.
    fn entered(&self, state: PrunedState, now: Timestamp) -> PrunedToken {
        PrunedToken {
            state,
            since: now,
            missing_since: None,
            ..self.clone()
        }
    }

    /// It is of the same command.
    fn is_of_order(&self, order: &PrunedToken) -> bool {
        (&self.id, self.at, &self.digest) == (&order.id, order.at, &order.digest)
    }

    /// When it may be deleted. The mark in its name has a word in it, so that no edit of the document shortens a quarantine; a deletion that was begun has
    /// no other end than its mark.
    pub fn deletion(&self, name: &str, installation: &str, quarantine: Duration) -> Timestamp {
        let marked = marked_at(name, installation).unwrap_or(self.at);
        let from = match self.state {
            PrunedState::Deleting => marked,
            _ => self.since.max(marked),
        };
        after(from, quarantine)
    }

    /// Its name is the one that was ordered.
    pub fn is_marked(&self, info: &TokenInfo, installation: &str) -> bool {
        match &self.digest {
            Some(digest) => {
                marked_at(&info.name, installation).is_some()
                    && *digest == NameDigest::of(&info.name)
            }
            None => info.name == self.name,
        }
    }

    /// The name that it gets when it is brought back; none = it keeps the one that it has, because someone else gave it. A name of theirs that
    /// has our mark keeps what is theirs of it.
    pub fn name_back(&self, name: &str, installation: &str) -> Option<String> {
        marked_at(name, installation)?;
        match &self.digest {
            Some(digest) if *digest == NameDigest::of(name) => Some(self.name.clone()),
            Some(_) => Some(Marker::split(name).0),
            None => None,
        }
    }

    /// What is to be done with it, as it was read now; none = the service does not know it.
    pub fn next(&self, seen: Option<&TokenInfo>, cx: &PruneContext<'_>) -> PruneStep {
        if cx.base_url != Some(&self.base_url) {
            return PruneStep::Block(format!(
                "{} was pruned at {}, which is not the URL of {} in the configuration",
                self.id, self.base_url, self.service
            ));
        }
        let Some(info) = seen else {
            return self.next_of_missing(cx);
        };
        let settled = after(self.since, cx.settle);
        let wait = (cx.now < settled).then_some(PruneStep::Wait(settled));
        match self.state {
            PrunedState::Ordered if !info.enabled && self.is_marked(info, cx.installation) => {
                PruneStep::BeginQuarantine
            }
            PrunedState::Ordered => wait.unwrap_or(PruneStep::Drop(PruneEnd::NotCarriedOut)),
            PrunedState::Restoring if self.is_restored(info, cx.installation) => {
                PruneStep::Drop(PruneEnd::Restored)
            }
            PrunedState::Restoring => wait.unwrap_or_else(|| self.next_of_restoring(info, cx)),
            PrunedState::Quarantine | PrunedState::Deleting => self.next_of_disabled(info, cx),
        }
    }

    /// One answer that a token is not there proves nothing.
    fn next_of_missing(&self, cx: &PruneContext<'_>) -> PruneStep {
        let Some(since) = self.missing_since else {
            return PruneStep::NoteMissing;
        };
        let settled = after(since, cx.settle);
        match cx.now < settled {
            true => PruneStep::Wait(settled),
            false => PruneStep::Drop(PruneEnd::Gone),
        }
    }

    /// The document alone enables no token: one that someone else disabled is left unchanged.
    fn next_of_restoring(&self, info: &TokenInfo, cx: &PruneContext<'_>) -> PruneStep {
        let proven = self.digest.is_some() && self.is_marked(info, cx.installation);
        match proven {
            true => PruneStep::Restore,
            false => PruneStep::Block(format!(
                "{} was to be enabled again by a command that was interrupted, and its name ({:?}) does not prove that dtrotate disabled it",
                self.id, info.name
            )),
        }
    }

    fn next_of_disabled(&self, info: &TokenInfo, cx: &PruneContext<'_>) -> PruneStep {
        if info.enabled {
            return PruneStep::Drop(PruneEnd::TakenBack);
        }
        if let Some(why) = self.why_not(info, cx) {
            return PruneStep::Block(format!("{} {why}", self.id));
        }
        // Also of a deletion that was begun: that it was is what the document says.
        let due = self.deletion(&info.name, cx.installation, cx.quarantine);
        if cx.now < due {
            return PruneStep::Wait(due);
        }
        if !cx.clock_agrees {
            return PruneStep::Wait(cx.now + SignedDuration::from_mins(1));
        }
        if self.digest.is_none() && !cx.confirmed {
            return PruneStep::Confirm;
        }
        PruneStep::Delete
    }

    /// What protects it from being deleted, whatever the document says.
    fn why_not(&self, info: &TokenInfo, cx: &PruneContext<'_>) -> Option<String> {
        if let Some(why) = cx.protection(info) {
            return Some(why);
        }
        if !self.is_marked(info, cx.installation) {
            return Some(format!(
                "has another name than `dtrotate prune` gave it ({:?}); `dtrotate undo --token {}` removes it from the list",
                info.name, self.id
            ));
        }
        // A disabled token cannot be used: someone enabled it meanwhile, or used it while it was being disabled.
        let ordered = marked_at(&info.name, cx.installation).unwrap_or(self.at);
        let used = info.last_used.filter(|used| *used > ordered)?;
        Some(format!("was used at {used:.0}, after it was pruned"))
    }

    /// It has its former name and state; or a name that someone gave it.
    fn is_restored(&self, info: &TokenInfo, installation: &str) -> bool {
        let renamed = self.digest.is_none() || !self.is_marked(info, installation);
        renamed && info.enabled == self.enabled
    }
}

#[cfg(test)]
mod tests;
