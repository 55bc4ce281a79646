//! Events API v2: `POST /api/v2/events/ingest`. An event that was taken is kept for the test to look at; no problem is opened.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::body::{self, Fields, Violation};
use super::needs;
use super::table::Token;
use crate::message::{Incoming, Reply};

/// The scope for sending events.
pub(crate) const SCOPE: &str = "events.ingest";

const TYPES: [&str; 11] = [
    "AVAILABILITY_EVENT",
    "CUSTOM_ALERT",
    "CUSTOM_ANNOTATION",
    "CUSTOM_CONFIGURATION",
    "CUSTOM_DEPLOYMENT",
    "CUSTOM_INFO",
    "ERROR_EVENT",
    "MARKED_FOR_TERMINATION",
    "PERFORMANCE_EVENT",
    "RESOURCE_CONTENTION_EVENT",
    "WARNING",
];

/// The types that open a problem.
const PROBLEMS: [&str; 5] = [
    "AVAILABILITY_EVENT",
    "CUSTOM_ALERT",
    "ERROR_EVENT",
    "PERFORMANCE_EVENT",
    "RESOURCE_CONTENTION_EVENT",
];

/// How far the start of an event that opens a problem may lie in the past and in the future.
const START: (SignedDuration, SignedDuration) =
    (SignedDuration::from_hours(6), SignedDuration::from_mins(5));
/// Properties in one event, letters in a key, letters in a value.
const LIMITS: (usize, usize, usize) = (100, 100, 4096);

/// An event that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenEvent {
    /// When it came, by the stand-in's clock.
    pub at: Timestamp,
    /// The id of the token that sent it.
    pub by: String,
    /// All of it, as it was sent.
    pub body: Value,
}

/// The events that were taken, and how the next one is answered.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) taken: Vec<TakenEvent>,
    /// The status of the next events in the reply; none = OK.
    pub(crate) status: Option<String>,
}

impl Events {
    pub(crate) fn answer(
        &mut self,
        caller: &Token,
        incoming: &Incoming,
        at: Timestamp,
    ) -> Result<Reply, Reply> {
        needs(caller, &[SCOPE], "Ingest events")?;
        let mut fields = Fields::read(incoming)?;
        let kind = fields.string("eventType");
        let kind = fields.required("eventType", kind);
        if kind
            .as_ref()
            .is_some_and(|kind| !TYPES.contains(&kind.as_str()))
        {
            fields.violation(Violation::body("eventType", "Unknown event type"));
        }
        let title = fields.string("title");
        let title = fields.required("title", title);
        if title.is_some_and(|title| title.trim().is_empty()) {
            fields.violation(Violation::body("title", "must not be blank"));
        }
        let selector = fields.string("entitySelector");
        if selector.is_some_and(|selector| !selects_entities(&selector)) {
            fields.violation(Violation::body("entitySelector", "is not a valid selector"));
        }
        let start = milliseconds(&mut fields, "startTime");
        let end = milliseconds(&mut fields, "endTime");
        // What is above 360 minutes is capped.
        let positive = |value: &Value| value.as_u64().is_some_and(|minutes| minutes > 0);
        if fields
            .value("timeout")
            .is_some_and(|value| !positive(&value))
        {
            fields.violation(Violation::body(
                "timeout",
                "must be a positive number of minutes",
            ));
        }
        match fields.value("properties") {
            None => {}
            Some(Value::Object(map)) => properties(&map, &mut fields),
            Some(_) => fields.violation(Violation::body("properties", "must be an object")),
        }
        fields.finish()?;
        let opens = kind.is_some_and(|kind| PROBLEMS.contains(&kind.as_str()));
        let status = match &self.status {
            Some(status) => status.as_str(),
            None if in_time(start, end, opens, at) => "OK",
            None => "INVALID_TIMESTAMPS",
        };
        let number = self.taken.len();
        if status == "OK" {
            self.taken.push(TakenEvent {
                at,
                by: caller.id.clone(),
                body: serde_json::from_slice(&incoming.body).unwrap_or_default(),
            });
        }
        let result = json!({ "correlationId": format!("{number:016x}"), "status": status });
        Ok(body::accepted(
            &json!({ "reportCount": 1, "eventIngestResults": [result] }),
        ))
    }
}

fn milliseconds(fields: &mut Fields, key: &str) -> Option<Timestamp> {
    let value = fields.value(key)?;
    let instant = value
        .as_i64()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    if instant.is_none() {
        fields.violation(Violation::body(key, "must be milliseconds"));
    }
    instant
}

fn in_time(
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    opens_problem: bool,
    now: Timestamp,
) -> bool {
    let start = start.unwrap_or(now);
    let (past, future) = START;
    let near = !opens_problem || (start >= now - past && start <= now + future);
    near && end.is_none_or(|end| end >= start)
}

/// Comma-joined criteria `name(...)`, of which one is `type` or `entityId`. What the criteria mean is not evaluated.
fn selects_entities(selector: &str) -> bool {
    let (mut depth, mut quoted, mut start) = (0_usize, false, 0);
    let mut names = Vec::new();
    for (at, letter) in selector.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => {
                if depth == 0 {
                    names.push(selector[start..at].trim());
                }
                depth += 1;
            }
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            ',' if depth == 0 => start = at + 1,
            _ => {}
        }
    }
    depth == 0
        && !quoted
        && names.iter().all(|name| !name.is_empty())
        && names
            .iter()
            .any(|name| matches!(*name, "type" | "entityId"))
}

fn properties(map: &Map<String, Value>, fields: &mut Fields) {
    let (most, key_length, value_length) = LIMITS;
    if map.len() > most {
        fields.violation(Violation::body("properties", "too many properties"));
    }
    for (key, value) in map {
        let fits = value
            .as_str()
            .is_some_and(|value| value.chars().count() <= value_length);
        if !fits || key.is_empty() || key.chars().count() > key_length {
            let path = format!("properties.{key}");
            fields.violation(Violation::body(&path, "must be a text within the limits"));
        }
    }
}
