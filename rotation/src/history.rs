//! The history of one secret: its last events in the words of the log, and before these one entry for the life of each token, in a separate
//! document beside the journal document. It is appended after a run, off the path of the claim, and read only by people.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{EventName, Level, Report};
use super::size;
use super::token::TokenId;

/// How many events a history keeps with their sentences. Older ones live on as the times in the lives of their tokens.
pub const EVENTS: usize = 200;

/// How many tokens' lives a history keeps besides, so that neither pauses nor failures push them out.
pub const LIVES: usize = 200;

/// What happens in the life of a token. Of each a life keeps the last.
const STEPS: [EventName; 12] = [
    EventName::SecretAdopted,
    EventName::SecretCreated,
    EventName::RotationSucceeded,
    EventName::RotationRecovered,
    EventName::SecretChangedElsewhere,
    EventName::UndoSucceeded,
    EventName::OrphanFound,
    EventName::ConsumerCutOff,
    EventName::TokenDisabled,
    EventName::TokenRevoked,
    EventName::TokenDeleted,
    EventName::OrphanDeleted,
];

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
            // A long answer of a server in it must not push the others out of the document.
            detail: size::cut(&report.message),
            by: by.to_owned(),
            unknown: Map::new(),
        })
    }
}

/// The life of one token, from events that are no longer kept themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The token whose life it is.
    pub token_id: TokenId,
    /// The token that it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_token_id: Option<TokenId>,
    /// What happened to it, oldest first.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// One event in the life of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it happened, by the clock of who did it.
    pub at: Timestamp,
    /// The stable identifier.
    pub event: String,
    /// The instance or command that did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Life {
    /// Adds what the event tells of this token.
    fn add(&mut self, event: Event) {
        self.steps.retain(|step| step.event != event.event);
        self.old_token_id = self.old_token_id.take().or(event.old_token_id);
        self.steps.push(Step {
            at: event.at,
            event: event.event,
            by: event.by,
            unknown: Map::new(),
        });
    }

    /// Its steps as events. Their sentences are gone.
    fn events(&self) -> impl Iterator<Item = Event> {
        self.steps.iter().enumerate().map(|(number, step)| Event {
            at: step.at,
            event: step.event.clone(),
            token_id: Some(self.token_id.clone()),
            // It was replaced when this one began.
            old_token_id: self.old_token_id.clone().filter(|_| number == 0),
            detail: String::new(),
            by: step.by.clone(),
            unknown: Map::new(),
        })
    }
}

/// What is kept of one secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Layout of the document.
    #[serde(default)]
    pub schema: u32,
    /// The lives of tokens as far as `events` no longer tells them, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub lives: VecDeque<Life>,
    /// The last events, oldest first.
    #[serde(default)]
    pub events: VecDeque<Event>,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl History {
    /// Adds `events`. The oldest beyond [`EVENTS`] become part of the lives of their tokens, and the oldest lives beyond [`LIVES`] are dropped.
    pub fn append(&mut self, events: &[Event]) {
        self.events.extend(events.iter().cloned());
        self.fold(EVENTS);
    }

    /// All that is known, oldest first.
    pub fn into_events(self) -> Vec<Event> {
        let mut all: Vec<Event> = self.lives.iter().flat_map(Life::events).collect();
        all.extend(self.events);
        // Stable: events of one instant keep their order.
        all.sort_by_key(|event| event.at);
        all
    }

    /// The text of the document. Where it is larger than Vault accepts, the oldest go first: sentences, then lives.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn document(&mut self) -> serde_json::Result<String> {
        loop {
            let text = serde_json::to_string(self)?;
            let is_empty = self.events.is_empty() && self.lives.is_empty();
            if size::stored(&text) <= size::LARGEST || is_empty {
                return Ok(text);
            }
            match self.events.len() {
                0 => drop(self.lives.drain(..self.lives.len().div_ceil(2))),
                kept => self.fold(kept / 2),
            }
        }
    }

    /// Keeps so many events with their sentences.
    fn fold(&mut self, kept: usize) {
        let surplus = self.events.len().saturating_sub(kept);
        for event in self.events.drain(..surplus) {
            let step = EventName::from_word(&event.event).filter(|name| STEPS.contains(name));
            let (Some(id), Some(_)) = (&event.token_id, step) else {
                continue;
            };
            match self.lives.iter_mut().find(|life| life.token_id == *id) {
                Some(life) => life.add(event),
                None => {
                    let mut life = Life {
                        token_id: id.clone(),
                        old_token_id: None,
                        steps: vec![],
                        unknown: Map::new(),
                    };
                    life.add(event);
                    self.lives.push_back(life);
                }
            }
        }
        let surplus = self.lives.len().saturating_sub(LIVES);
        self.lives.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, name: EventName, token: usize) -> Event {
        let id = |token| TokenId::new(format!("dt0c01.{token:0>24}"));
        let mut report = Report::new(name, "a sentence about the event, as it is in the log");
        report.token_id = Some(id(token));
        if name == EventName::RotationSucceeded {
            report.old_token_id = Some(id(token - 1));
        }
        Event::of(&report, Timestamp::from_second(second).unwrap(), "host-1").unwrap()
    }

    /// Rotates `tokens` times, and each time pauses and resumes `pauses` times.
    fn lived(tokens: usize, pauses: usize) -> History {
        let mut history = History::default();
        let mut second = 0;
        for token in 1..=tokens {
            let mut events = vec![(EventName::RotationSucceeded, token)];
            for _ in 0..pauses {
                events.push((EventName::SecretPaused, token));
                events.push((EventName::SecretResumed, token));
            }
            events.push((EventName::TokenDisabled, token - 1));
            events.push((EventName::TokenDeleted, token - 1));
            for (name, token) in events {
                second += 1;
                history.append(&[event(second, name, token)]);
            }
        }
        history
    }

    #[test]
    fn two_hundred_lives_are_kept_whatever_happened_between_them() {
        let mut history = lived(400, 5);
        assert_eq!((history.events.len(), history.lives.len()), (EVENTS, LIVES));
        let text = history.document().unwrap();
        assert!(size::stored(&text) < 200_000, "{}", text.len());
        let read: History = serde_json::from_str(&text).unwrap();
        assert_eq!(read, history);
        let all = read.into_events();
        assert!(all.is_sorted_by_key(|event| event.at));
        for name in [
            EventName::RotationSucceeded,
            EventName::TokenDisabled,
            EventName::TokenDeleted,
        ] {
            let of: Vec<&Event> = all.iter().filter(|it| it.event == name.as_str()).collect();
            assert!(of.len() >= LIVES, "{}: {}", name.as_str(), of.len());
            for event in of {
                let begins = name == EventName::RotationSucceeded;
                assert_eq!(event.old_token_id.is_some(), begins, "{event:?}");
                assert_eq!(event.by, "host-1");
            }
        }
        let last = all.last().unwrap();
        assert!(!last.detail.is_empty(), "{last:?}");
    }

    #[test]
    fn a_document_of_events_alone_is_read_and_continued() {
        let mut old: VecDeque<Event> = lived(400, 0).events;
        let document = serde_json::json!({ "schema": 2, "events": old });
        let mut history: History = serde_json::from_value(document).unwrap();
        assert!(history.lives.is_empty());
        let next = event(5000, EventName::RotationSucceeded, 401);
        history.append(std::slice::from_ref(&next));
        let first = old.pop_front().unwrap();
        assert_eq!(history.lives[0].steps[0].event, first.event);
        assert_eq!(history.events.back(), Some(&next));
    }

    #[test]
    fn what_is_too_large_for_vault_loses_its_oldest_parts() {
        let mut history = lived(400, 0);
        for event in &mut history.events {
            event.detail = "<".repeat(5000);
        }
        let newest = history.events.back().unwrap().clone();
        let text = history.document().unwrap();
        assert!(size::stored(&text) <= size::LARGEST);
        assert_eq!(history.lives.len(), LIVES);
        assert_eq!(history.events.back(), Some(&newest));
        let long = Report::new(EventName::RotationFailed, "<".repeat(5000));
        let event = Event::of(&long, Timestamp::UNIX_EPOCH, "host-1").unwrap();
        assert!(event.detail.len() < 200, "{}", event.detail);
    }
}
