//! The history of one secret: its last events in the words of the log, in a separate document beside the journal document. It is
//! appended after a run, off the path of the claim, and read only by people.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Level, Report};
use super::token::TokenId;

/// How many events a history keeps: the story of many rotations, and still a small document.
pub const EVENTS: usize = 200;

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// When it was reported, by the clock of who reported it.
    pub at: Timestamp,
    /// The stable identifier.
    pub event: String,
    /// The token it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// The token that it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_token_id: Option<TokenId>,
    /// The sentence of the log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The instance or command that did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Event {
    /// The event of `report`, if it is worth keeping: everything above DEBUG is.
    pub fn of(report: &Report, at: Timestamp, by: &str) -> Option<Event> {
        (report.level > Level::Debug).then(|| Event {
            at,
            event: report.event.as_str().to_owned(),
            token_id: report.token_id.clone(),
            old_token_id: report.old_token_id.clone(),
            detail: report.message.clone(),
            by: by.to_owned(),
            unknown: Map::new(),
        })
    }
}

/// The last events of one secret, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Layout of the document.
    #[serde(default)]
    pub schema: u32,
    /// The events.
    #[serde(default)]
    pub events: VecDeque<Event>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl History {
    /// Adds `events` and drops the oldest beyond [`EVENTS`].
    pub fn append(&mut self, events: &[Event]) {
        self.events.extend(events.iter().cloned());
        let surplus = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..surplus);
    }
}
