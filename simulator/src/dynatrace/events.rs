//! Events API v2: `POST /api/v2/events/ingest`. An event that was taken is kept for the test to look at; no problem is opened.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::body::{self, Fields, Violation};
use super::needs;
use super::table::Token;
use crate::message::{Incoming, Reply};

/// The scope that lets a token tell of events.
pub(crate) const SCOPE: &str = "events.ingest";

const FIELDS: [&str; 7] = [
    "eventType",
    "title",
    "entitySelector",
    "startTime",
    "endTime",
    "timeout",
    "properties",
];

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

/// The longest time-out, in minutes.
const LONGEST: u64 = 360;
/// Properties in one event, letters in a key, letters in a value.
const LIMITS: (usize, usize, usize) = (100, 100, 4096);

/// An event that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenEvent {
    /// When it came, by the stand-in's clock.
    pub at: Timestamp,
    /// The id of the token that told it.
    pub by: String,
    /// All of it, as it was sent.
    pub body: Value,
}

/// What has been told, and what is made of the next one.
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
        needs(caller, SCOPE, "Ingest events")?;
        let mut fields = Fields::read(incoming, &FIELDS)?;
        let kind = fields.string("eventType");
        let kind = fields.required("eventType", kind);
        if kind.is_some_and(|kind| !TYPES.contains(&kind.as_str())) {
            fields.violation(Violation::body("eventType", "Unknown event type"));
        }
        let title = fields.string("title");
        let title = fields.required("title", title);
        if title.is_some_and(|title| title.trim().is_empty()) {
            fields.violation(Violation::body("title", "must not be blank"));
        }
        fields.string("entitySelector");
        for key in ["startTime", "endTime"] {
            if fields
                .value(key)
                .is_some_and(|value| value.as_i64().is_none())
            {
                fields.violation(Violation::body(key, "must be milliseconds"));
            }
        }
        let in_bounds = |value: &Value| value.as_u64().is_some_and(|n| (1..=LONGEST).contains(&n));
        if fields
            .value("timeout")
            .is_some_and(|value| !in_bounds(&value))
        {
            fields.violation(Violation::body("timeout", "must be between 1 and 360"));
        }
        match fields.value("properties") {
            None => {}
            Some(Value::Object(map)) => properties(&map, &mut fields),
            Some(_) => fields.violation(Violation::body("properties", "must be an object")),
        }
        fields.finish()?;
        let status = self.status.clone().unwrap_or_else(|| "OK".to_owned());
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
