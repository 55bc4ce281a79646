//! One secret for a terminal: everything about it, or what is wrong with it.

use std::fmt::Write as _;

use jiff::Timestamp;
use rotation::event::EventName;
use rotation::retiring::Problem;

use super::super::humanize::{count, due, hanging, local, relative, span, wrapped};
use super::super::secret::{Mood, Paused, Retiring, Secret, State};
use super::super::status::Status;
use super::Paint;

/// Everything about one secret.
pub(super) fn whole(status: &Status, secret: &Secret, paint: Paint) -> String {
    let now = status.at;
    let zone = secret.zone.as_deref();
    let mut text = format!("{}  {}\n", secret.name, state(status, secret, paint));
    for trouble in status.troubles_of(&secret.name) {
        text += &paint.bad(&wrapped(&trouble.message, "  "));
        if let Some(advice) = status.advice(trouble) {
            text += &hanging("  to do     ", &advice);
        }
    }
    let failure = secret.failure.as_ref();
    if let Some(failure) = failure.filter(|_| secret.state == State::Retrying) {
        text += &paint.uneasy(&wrapped(&failure.message, "  "));
    }
    let mut line = |name: &str, value: String| {
        text += &hanging(&format!("  {name:<10}"), &value);
    };
    if let Some(failure) = failure {
        let times = count(failure.count as usize, "time");
        line("reason", format!("{}, {times}", failure.reason));
    }
    line(
        "place",
        format!("{} (environment {})", secret.place, secret.environment),
    );
    if !secret.labels.is_empty() {
        line("labels", secret.labels.to_string());
    }
    if let Some(token) = &secret.current {
        line("token", token.id.to_string());
        if let Some(created) = token.created {
            line("created", when(zone, created, now));
        }
        line(
            "expires",
            token
                .expires
                .map_or("never".to_owned(), |at| when(zone, at, now)),
        );
        if token.unproven {
            line(
                "proof",
                "none: listed as ordered, and no call could show that its value works".to_owned(),
            );
        }
    }
    if let Some(drift) = &secret.drift {
        line("drift", format!("{drift}; the next rotation applies it"));
    }
    line(
        "last",
        secret
            .last_success
            .map_or("never".to_owned(), |at| when(zone, at, now)),
    );
    let because = match &secret.paused {
        Some(paused) => pause(paused, zone),
        None => secret.because.clone(),
    };
    line(
        "next",
        match secret.next {
            Some(at) => format!("{} ({}), {because}", due(at, now), local(at, zone)),
            None => because,
        },
    );
    if let Some(holder) = &secret.holder {
        line("held by", holder.clone());
    }
    if let Some(as_of) = secret.as_of {
        line("as of", when(zone, as_of, now));
    }
    for entry in &secret.retiring {
        line("retiring", retiring(secret, entry, now));
    }
    text
}

fn when(zone: Option<&str>, at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", relative(at, now), local(at, zone))
}

/// Who paused it, in the zone of its schedule: `paused by alice until 2026-12-24 09:00:00 CET: change freeze`.
fn pause(paused: &Paused, zone: Option<&str>) -> String {
    let end = match paused.until {
        Some(until) => format!("until {}", local(until, zone)),
        None => format!("since {}", local(paused.since, zone)),
    };
    let reason = paused.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("paused by {} {end}{reason}", paused.by)
}

fn retiring(secret: &Secret, entry: &Retiring, now: Timestamp) -> String {
    let blocked = |problem: &Problem| problem.event == EventName::RetirementBlocked.as_str();
    // What cannot be done is only tried then.
    let next = match entry.problems.iter().any(blocked) {
        true => "tried again",
        false => entry.next_step(),
    };
    let mut text = format!("{}, {next} {}", entry.id, secret.step_comes(entry.due, now));
    if let Some(held) = entry.held_since {
        let from = entry.used_from.as_deref().unwrap_or("an unknown address");
        let since = span(now.duration_since(held));
        let _ = write!(
            text,
            ", held for {since} because it is still used from {from}"
        );
    }
    for problem in &entry.problems {
        let _ = write!(text, "; {}", problem.message);
    }
    text
}

fn state(status: &Status, secret: &Secret, paint: Paint) -> String {
    let trouble = status.troubles_of(&secret.name).next();
    // A secret that rotates well can still need a human, for an old token.
    if let Some(trouble) = trouble.filter(|_| secret.state == State::Healthy) {
        let since = span(status.at.duration_since(trouble.since));
        return paint.bad(&format!("{} for {since}", trouble.event.replace('_', " ")));
    }
    let words = secret.state.words();
    let since = secret.failure.as_ref().map(|failure| failure.since);
    let text = match since {
        Some(since) => format!("{words} for {}", span(status.at.duration_since(since))),
        None => words.to_owned(),
    };
    match secret.state.mood() {
        Mood::Bad => paint.bad(&text),
        Mood::Uneasy => paint.uneasy(&text),
        Mood::Good => paint.good(&text),
        Mood::Off => paint.quiet(&text),
    }
}

/// What is wrong with it, in a few lines.
pub(super) fn brief(status: &Status, secret: &Secret, paint: Paint) -> String {
    let mut text = format!("{}  {}\n", secret.name, state(status, secret, paint));
    let mut troubles = status.troubles_of(&secret.name).peekable();
    if let (None, Some(failure)) = (troubles.peek(), &secret.failure) {
        text += &paint.uneasy(&wrapped(&failure.message, "  "));
    }
    // Each is one of those that the headline counts.
    for trouble in troubles {
        text += &paint.bad(&wrapped(&trouble.message, "  "));
    }
    text
}
