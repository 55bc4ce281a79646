//! Pruned tokens: tokens of no secret that a person had disabled and marked by `dtrotate prune`, and that are deleted after a quarantine. Here are the
//! document that records them and the decision what is to be done with one now.
//!
//! The document alone never ends a token. What is deleted bears the mark that was ordered for it and is still disabled, as read in the same run; where
//! tokens cannot be renamed, a person confirms it by a second command.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::marker::{Epoch, Marker, NameDigest};
use super::request::after;
use super::token::{TokenId, TokenInfo, manages_tokens};

/// What a mark has in the place of a secret's identity, which is hexadecimal and so never this.
const PLACE: &str = "prune";

/// The document of all pruned tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneRecord {
    pub tokens: Vec<PrunedToken>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A token that is disabled, or about to be, and is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedToken {
    pub id: TokenId,
    /// The environment or account that issued it, and its URL: it is never ended at another one.
    pub service: String,
    pub base_url: String,
    /// Its name and whether it was enabled, for the way back.
    pub name: String,
    pub enabled: bool,
    /// The digest of the marked name that was ordered; none where tokens cannot be renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NameDigest>,
    /// The person who ordered it, as Vault knows them.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is known around a token.
#[derive(Clone, Copy, Debug)]
pub struct PruneContext<'a> {
    pub now: Timestamp,
    /// The local clock agrees with the servers'.
    pub clock_agrees: bool,
    pub installation: &'a str,
    /// The URL of its environment or account now; none = it is not configured.
    pub base_url: Option<&'a str>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    Delete,
    /// Only a person can say that it is to be deleted.
    Confirm,
    /// It is left alone: why.
    Block(String),
}

/// Why a token leaves the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneEnd {
    Deleted,
    /// Someone else deleted it, or it was purged.
    Gone,
    /// It was never disabled and marked.
    NotCarriedOut,
    /// Someone enabled it again.
    TakenBack,
    Restored,
}

/// The mark of a token that is pruned at this time.
pub fn mark(installation: &str, at: Timestamp) -> Marker {
    Marker {
        epoch: Epoch {
            installation: installation.to_owned(),
            secret: PLACE.to_owned(),
        },
        attempt: u64::try_from(at.as_second()).unwrap_or_default(),
    }
}

/// When this installation marked a token of this name; none = the name bears no mark of it.
pub fn marked_at(name: &str, installation: &str) -> Option<Timestamp> {
    let marker = Marker::split(name).1?;
    let ours = marker.epoch.installation == installation && marker.epoch.secret == PLACE;
    let seconds = i64::try_from(marker.attempt).ok().filter(|_| ours)?;
    Timestamp::from_second(seconds).ok()
}

impl PruneRecord {
    pub fn find(&self, id: &TokenId) -> Option<&PrunedToken> {
        self.tokens.iter().find(|token| token.id == *id)
    }

    /// The entry of this token, if it still is as it was when the decision about it was made.
    pub fn unchanged(&mut self, seen: &PrunedToken) -> Option<&mut PrunedToken> {
        self.tokens.iter_mut().find(|token| *token == seen)
    }

    /// Drops the entry of this token.
    pub fn drop_entry(&mut self, id: &TokenId) {
        self.tokens.retain(|token| token.id != *id);
    }
}

impl PrunedToken {
    pub fn enter(&mut self, state: PrunedState, now: Timestamp) {
        self.state = state;
        self.since = now;
    }

    /// When it may be deleted. The mark in its name has a word in it, so that no edit of the document shortens a quarantine.
    pub fn deletion(&self, name: &str, installation: &str, quarantine: Duration) -> Timestamp {
        let marked = marked_at(name, installation).unwrap_or(self.at);
        after(self.since.max(marked), quarantine)
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
            PrunedState::Restoring => wait.unwrap_or(PruneStep::Restore),
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

    fn next_of_disabled(&self, info: &TokenInfo, cx: &PruneContext<'_>) -> PruneStep {
        if info.enabled {
            return PruneStep::Drop(PruneEnd::TakenBack);
        }
        if let Some(why) = self.why_not(info, cx) {
            return PruneStep::Block(format!("{} {why}", self.id));
        }
        let due = self.deletion(&info.name, cx.installation, cx.quarantine);
        if self.state == PrunedState::Quarantine {
            if cx.now < due {
                return PruneStep::Wait(due);
            }
            if !cx.clock_agrees {
                return PruneStep::Wait(cx.now + SignedDuration::from_mins(1));
            }
            if self.digest.is_none() && !cx.confirmed {
                return PruneStep::Confirm;
            }
        }
        PruneStep::Delete
    }

    /// What protects it from being deleted, whatever the document says.
    fn why_not(&self, info: &TokenInfo, cx: &PruneContext<'_>) -> Option<String> {
        if let Some(holder) = cx.holder {
            return Some(format!("is the current token of {holder}"));
        }
        if cx.is_management {
            return Some("is in use as a management token".to_owned());
        }
        if manages_tokens(&info.scopes) {
            return Some("has rights to manage tokens".to_owned());
        }
        (!self.is_marked(info, cx.installation)).then(|| {
            format!(
                "has another name than `dtrotate prune` gave it ({:?})",
                info.name
            )
        })
    }

    fn is_restored(&self, info: &TokenInfo, installation: &str) -> bool {
        let renamed = self.digest.is_none() || !self.is_marked(info, installation);
        renamed && info.enabled == self.enabled
    }
}

#[cfg(test)]
mod tests;
