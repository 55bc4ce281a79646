//! A notice in the format of each channel. Pure.

use serde_json::{Map, Value, json};

use crate::sanitize;

use super::{Notice, Phase, Rotated};
use crate::labels::Labels;
use rotation::announcement::Announcement;
use rotation::event::EventName;

/// Minutes after which Dynatrace ends an event that is not sent again.
const TIMEOUT: u32 = 15;

/// The longest value of a property that Dynatrace takes, and the longest sentence of a post, in characters.
const LONGEST: usize = 4096;

/// The text of a post about several secrets has at most so many names.
const SHOWN: usize = 20;

/// An event that opens a problem, or keeps it open; its end is not sent, it closes by its time-out. Nothing in it may change while a
/// condition is open. Several replicas report the same condition of a secret, so the instance is named only in conditions that concern no secret.
pub(super) fn event(notice: &Notice, phase: Phase) -> Option<Value> {
    if phase == Phase::Over {
        return None;
    }
    let instance = match notice.secret {
        None => Some(notice.instance.as_str()),
        Some(_) => None,
    };
    let what_to_do = what_to_do(notice);
    let labels = notice.labels.iter().map(|(name, value)| {
        let key = format!("dtrotate.label.{name}");
        (key, cut(value).into())
    });
    let properties: Map<String, Value> = [
        ("dtrotate.event", Some(notice.event.as_str())),
        ("dtrotate.message", Some(notice.message.as_str())),
        ("dtrotate.what_to_do", Some(what_to_do.as_str())),
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

/// A post at the beginning and at the end: `text`, which Slack and similar services show, and the parts for machines. Of several notices of one kind,
/// each with its own secret, one post.
pub(super) fn post(notices: &[&Notice], phase: Phase) -> Option<Value> {
    let [notice] = notices else {
        return post_group(notices, phase);
    };
    let (state, words, hint) = match phase {
        Phase::Begins => ("begins", "a human is needed", what_to_do(notice)),
        Phase::Over => ("over", "resolved", String::new()),
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
        "secrets": notice.secret.as_deref().map(cut).into_iter().collect::<Vec<_>>(),
        "environment": notice.environment.as_deref().map(cut),
        "labels": notice.labels,
        "reason": notice.reason,
        "since": notice.since,
        "instance": cut(&notice.instance),
    }))
}

fn what_to_do(notice: &Notice) -> String {
    if let Some(advice) = &notice.advice {
        return advice.clone();
    }
    match &notice.secret {
        Some(secret) => notice.event.what_to_do_for(secret),
        None => notice.event.what_to_do().to_owned(),
    }
}

fn post_group(notices: &[&Notice], phase: Phase) -> Option<Value> {
    let first = notices.first()?;
    let (state, words) = match phase {
        Phase::Begins => ("begins", "a human is needed"),
        Phase::Over => ("over", "resolved"),
        Phase::Lasts => return None,
    };
    let event = first.event.as_str();
    let place = first.environment.as_deref().unwrap_or("several places");
    let headline = format!("{event} of {} secrets ({place})", notices.len());
    let message = cut(&format!("{headline}, such as: {}", first.message));
    let mut text = cut(&format!(
        "dtrotate ({}): {words}: {message}",
        first.instance
    ));
    let names = notices.iter().filter_map(|notice| notice.secret.as_deref());
    let names: Vec<String> = names.map(cut).collect();
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    text = format!("{text}\nSecrets: {}", shown.join(", "));
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    if phase == Phase::Begins {
        text = format!(
            "{text}\nWhat to do: {}",
            first.advice.as_deref().unwrap_or(first.event.what_to_do())
        );
    }
    let same = |labels: &Labels| notices.iter().all(|notice| notice.labels == *labels);
    Some(json!({
        "text": escaped(&text),
        "state": state,
        "event": event,
        "message": message,
        "secret": Value::Null,
        "secrets": names,
        "environment": first.environment.as_deref().map(cut),
        "labels": same(&first.labels).then_some(&first.labels),
        "reason": first.reason,
        "since": notices.iter().map(|notice| notice.since).min(),
        "instance": cut(&first.instance),
    }))
}

/// A post about a completed rotation.
pub(super) fn rotated(rotated: &Rotated) -> Value {
    let Announcement {
        token,
        version,
        old,
        at,
        by,
        ..
    } = &rotated.announcement;
    let (secret, place) = (cut(&rotated.secret), cut(&rotated.place));
    let message = format!("{secret} was rotated: version {version} of {place} holds {token}");
    let mut text = format!("dtrotate ({}): {message}", cut(by));
    if !rotated.labels.is_empty() {
        text = format!("{text}\nLabels: {}", rotated.labels);
    }
    json!({
        "text": escaped(&text),
        "state": "rotated",
        "event": EventName::RotationSucceeded.as_str(),
        "message": message,
        "secret": secret,
        "secrets": [secret],
        "environment": cut(&rotated.environment),
        "labels": rotated.labels,
        "token_id": token,
        "old_token_id": old,
        "version": version,
        "at": at,
        "instance": cut(by),
    })
}

fn headline(notice: &Notice) -> String {
    let event = notice.event.as_str();
    match (&notice.secret, &notice.environment) {
        (Some(secret), Some(environment)) => format!("{event} of {secret} ({environment})"),
        (Some(one), None) | (None, Some(one)) => format!("{event} of {one}"),
        (None, None) => event.to_owned(),
    }
}

/// Text from outside must not notify a whole channel (`<!channel>`) or look like a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn cut(text: &str) -> String {
    let safe = sanitize::line(text);
    safe.chars().take(LONGEST).collect()
}
