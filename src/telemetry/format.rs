//! A line as JSON and as text: the same fields, flat, in one order.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::Level as Loudness;

use crate::sanitize;

/// The order of the fields in a line; others follow.
const ORDER: [&str; 16] = [
    "event",
    "message",
    "secret",
    "environment",
    "rotation_id",
    "trigger",
    "token_id",
    "old_token_id",
    "step",
    "attempt",
    "reason",
    "duration_ms",
    "error",
    "since",
    "instance",
    "target",
];

/// One JSON object.
pub(super) fn json(at: Timestamp, level: &Loudness, mut found: Map<String, Value>) -> String {
    let mut line = format!("{{\"timestamp\":\"{at:.6}\",\"level\":\"{level}\"");
    let mut push = |name: &str, value: &Value| {
        // Writing to a string cannot fail.
        let _ = write!(line, ",{}:{value}", Value::from(name));
    };
    for name in ORDER {
        if let Some(value) = found.remove(name) {
            push(name, &value);
        }
    }
    for (name, value) in &found {
        push(name, value);
    }
    line.push('}');
    sanitize::json(&line).into_owned()
}

/// For people: one line, the details in brackets.
pub(super) fn text(at: Timestamp, level: &Loudness, mut found: Map<String, Value>) -> String {
    let plain = |value: &Value| match value {
        // A line stays one line, whatever the other side said.
        Value::String(text) => sanitize::line(text),
        other => other.to_string(),
    };
    // A sentence that contains the error says it once.
    if let (Some(Value::String(message)), Some(Value::String(error))) =
        (found.get("message"), found.get("error"))
        && message.contains(error.as_str())
    {
        found.remove("error");
    }
    let mut take = |name: &str| found.remove(name).map(|value| plain(&value));
    let mut line = format!("{at:.3} {level:5}");
    for part in [
        take("event"),
        take("secret").map(|secret| format!("{secret}:")),
        take("message"),
    ] {
        line.push(' ');
        line.push_str(&part.unwrap_or_default());
    }
    take("instance");
    let mut details = Vec::new();
    for name in ORDER {
        if let Some(value) = take(name) {
            details.push(format!("{name}={value}"));
        }
    }
    for (name, value) in &found {
        details.push(format!("{name}={}", plain(value)));
    }
    if !details.is_empty() {
        line.push_str(&format!(" ({})", details.join(" ")));
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Map<String, Value> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect()
    }

    #[test]
    fn a_json_line_is_flat_and_keeps_its_order() {
        let line = json(
            Timestamp::UNIX_EPOCH,
            &Loudness::INFO,
            fields(&[
                ("since", "x"),
                ("event", "e"),
                ("zeta", "z"),
                ("message", "a \"b\"\nc"),
                ("error", "\u{9b}\u{202e}"),
            ]),
        );
        assert!(!line.contains(sanitize::is_hazard), "{line:?}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"b\"\nc");
        let at = |name: &str| line.find(&format!("\"{name}\"")).unwrap();
        assert!(at("timestamp") < at("level") && at("level") < at("event"));
        assert!(at("event") < at("message") && at("since") < at("zeta"));
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_text_line_is_one_line() {
        let line = text(
            Timestamp::UNIX_EPOCH,
            &Loudness::WARN,
            fields(&[
                ("event", "rotation_failed"),
                ("secret", "ci"),
                ("message", "a\nb"),
                ("error", "c\nd"),
                ("instance", "\u{1b}[2J"),
                (
                    "owner",
                    "\u{1b}[31m\u{9b}\u{202e}\u{2028}\0 dt0c01.A.SECRET",
                ),
            ]),
        );
        assert!(!line.contains(sanitize::is_hazard), "{line:?}");
        assert!(line.contains("owner=\\u{1b}[31m") && line.ends_with("dt0c01.A.[hidden])"));
        assert!(
            line.contains("WARN rotation_failed ci: a b (error=c d owner="),
            "{line}"
        );
    }

    #[test]
    fn an_error_that_the_sentence_contains_is_not_said_twice() {
        let said = [
            ("message", "cannot read x: 403 denied; ask"),
            ("error", "403 denied"),
        ];
        let line = text(Timestamp::UNIX_EPOCH, &Loudness::WARN, fields(&said));
        assert!(line.ends_with("cannot read x: 403 denied; ask"), "{line}");
    }
}
