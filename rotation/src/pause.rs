//! A pause: nothing of a secret is begun until it ends. It is in the journal document, so it holds for every replica, every command and all
//! background work. It is written without a claim and preserves a claim that is held (rule A14): a living holder finishes its work, a dead
//! one's work waits.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who paused a secret, why, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// When it was ordered.
    pub since: Timestamp,
    /// It ends at this time; none = it ends with a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The person, as Vault knows them.
    pub by: String,
    /// What the person gave as `--reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Pause {
    /// It ends before this one.
    pub fn ends_before(&self, other: &Pause) -> bool {
        self.until
            .is_some_and(|until| other.until.is_none_or(|other| until < other))
    }

    /// Its end, and in brackets who ordered it and why: `until 2026-12-24T08:00:00Z (by alice, reason: change freeze)`.
    pub fn described(&self) -> String {
        let until = match self.until {
            Some(until) => format!("until {until:.0}"),
            None => "without an end".to_owned(),
        };
        match &self.reason {
            Some(reason) => format!("{until} (by {}, reason: {reason})", self.by),
            None => format!("{until} (by {})", self.by),
        }
    }

    /// Its time is up.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl std::fmt::Display for Pause {
    /// Half a sentence: `paused by alice until 2026-12-24T08:00:00Z: change freeze`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "paused by {}", self.by)?;
        match self.until {
            Some(until) => write!(f, " until {until:.0}")?,
            None => write!(f, " since {:.0}", self.since)?,
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}
