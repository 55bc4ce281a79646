//! A notice as each channel wants it. Pure.

use serde_json::{Map, Value, json};

use crate::sanitize;

use super::{Notice, Phase};

/// Minutes after which Dynatrace ends an event that is not told again.
const TIMEOUT: u32 = 15;

/// The longest value of a property that Dynatrace takes, and the longest sentence of a post, in characters.
const LONGEST: usize = 4096;

/// An event that opens a problem, or keeps it open; its end is not told, it closes by its time-out. Nothing in it may change while a
/// trouble lasts. What several replicas see of a secret is the same trouble, so the instance is named only in others.
pub(super) fn event(notice: &Notice, phase: Phase) -> Option<Value> {
    if phase == Phase::Over {
        return None;
    }
    let instance = match notice.secret {
        None => Some(notice.instance.as_str()),
        Some(_) => None,
    };
    let labels = notice.labels.iter().map(|(name, value)| {
        let key = format!("dtrotate.label.{name}");
        (key, cut(value).into())
    });
    let properties: Map<String, Value> = [
        ("dtrotate.event", Some(notice.event.as_str())),
        ("dtrotate.message", Some(notice.message.as_str())),
        ("dtrotate.what_to_do", Some(notice.event.what_to_do())),
        ("dtrotate.secret", notice.secret.as_deref()),
        ("dtrotate.environment", notice.environment.as_deref()),
        ("dtrotate.reason", notice.reason.as_deref()),
        ("dtrotate.instance", instance),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), cut(value?).into())))
    .chain(labels)
    .collect();
    Some(json!({
        "eventType": "ERROR_EVENT",
        "title": cut(&format!("dtrotate: {}", headline(notice))),
        "timeout": TIMEOUT,
        "properties": properties,
    }))
}

/// A post at the beginning and at the end: `text` as Slack and its like show it, and the parts for machines.
pub(super) fn post(notice: &Notice, phase: Phase) -> Option<Value> {
    let (state, words, hint) = match phase {
        Phase::Begins => ("begins", "a human is needed", notice.event.what_to_do()),
        Phase::Over => ("over", "resolved", ""),
        Phase::Lasts => return None,
    };
    let mut text = cut(&format!(
        "dtrotate ({}): {words}: {}: {}",
        notice.instance,
        headline(notice),
        notice.message
    ));
    if !notice.labels.is_empty() {
        text = format!("{text}\nLabels: {}", notice.labels);
    }
    if !hint.is_empty() {
        text = format!("{text}\nWhat to do: {hint}");
    }
    Some(json!({
        "text": escaped(&text),
        "state": state,
        "event": notice.event.as_str(),
        "message": cut(&notice.message),
        "secret": notice.secret.as_deref().map(cut),
        "environment": notice.environment.as_deref().map(cut),
        "labels": notice.labels,
        "reason": notice.reason,
        "since": notice.since,
        "instance": cut(&notice.instance),
    }))
}

fn headline(notice: &Notice) -> String {
    let event = notice.event.as_str();
    match (&notice.secret, &notice.environment) {
        (Some(secret), Some(environment)) => format!("{event} of {secret} ({environment})"),
        (Some(one), None) | (None, Some(one)) => format!("{event} of {one}"),
        (None, None) => event.to_owned(),
    }
}

/// What others said cannot call a whole channel (`<!channel>`) or pass for a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn cut(text: &str) -> String {
    let safe = sanitize::line(text);
    safe.chars().take(LONGEST).collect()
}
