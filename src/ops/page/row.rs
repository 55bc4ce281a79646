//! A secret in one row, which unfolds.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::labels::Label;

use super::super::humanize::{count, due, exact, relative, span};
use super::super::rotations::Rotation;
use super::super::secret::{Mood, Secret, State};
use super::super::status::Status;
use super::super::view::Query;
use super::Safe;

/// So many of the last rotations are listed in words.
const IN_WORDS: usize = 6;

/// The colour of a state.
pub(super) fn class(state: State) -> &'static str {
    match state.mood() {
        Mood::Bad => "bad",
        Mood::Uneasy => "uneasy",
        Mood::Good => "good",
        Mood::Off => "off",
    }
}

pub(super) fn render(html: &mut String, status: &Status, secret: &Secret, rotations: &[Rotation]) {
    let now = status.at;
    let trouble = status.troubles_of(&secret.name).next();
    let class = match trouble {
        Some(_) => "bad",
        None => class(secret.state),
    };
    // A secret that rotates well can still need a human, for an old token.
    let state = match trouble.filter(|_| secret.state == State::Healthy) {
        Some(trouble) => Safe(trouble.event.replace('_', " ")).to_string(),
        None => secret.state.words().to_owned(),
    };
    let last = secret
        .last_success
        .map(|at| format!("rotated {}", relative(at, now)));
    let next = secret.next.map(|at| format!("next {}", due(at, now)));
    let old = match secret.retiring.len() {
        0 => String::new(),
        number if secret.is_held() => {
            format!("<span class=\"held\">{number} old, still used</span>")
        }
        number => count(number, "old token"),
    };
    let _ = writeln!(
        html,
        "<details class=\"{class}\" id=\"{name}\">\n<summary><span class=\"name\">{name}</span> <span class=\"state\">{state}</span> {} \
         <span>{}</span> <span>{}</span> <span>{old}</span></summary>",
        strip(rotations),
        last.unwrap_or_default(),
        next.unwrap_or_default(),
        name = Safe(&secret.name),
    );
    facts(html, secret, rotations, now);
    retiring(html, secret, now);
    *html += "</details>\n";
}

/// A bar for each of the last rotations, the newest at the right.
fn strip(rotations: &[Rotation]) -> String {
    if rotations.is_empty() {
        return "<span></span>".to_owned();
    }
    let failed = rotations.iter().filter(|one| !one.succeeded).count();
    let late = rotations
        .iter()
        .filter(|one| one.succeeded && one.failed > 0);
    let label = match (failed, late.count()) {
        (0, 0) => "all succeeded".to_owned(),
        (0, late) => format!("all succeeded, {late} after failures"),
        (failed, 0) => format!("{failed} failed"),
        (failed, late) => format!("{failed} failed, {late} after failures"),
    };
    let bars = rotations
        .iter()
        .map(|one| match (one.succeeded, one.failed) {
            (true, 0) => "<i></i>",
            (true, _) => "<i class=\"l\"></i>",
            (false, _) => "<i class=\"f\"></i>",
        });
    format!(
        "<span class=\"strip\" role=\"img\" aria-label=\"last {}: {label}\">{}</span>",
        count(rotations.len(), "rotation"),
        bars.collect::<String>()
    )
}

/// The last rotations in words, the newest first.
fn told(rotations: &[Rotation], now: Timestamp) -> String {
    let words = rotations.iter().rev().take(IN_WORDS).map(|one| {
        let ago = relative(one.at, now);
        let failed = count(one.failed as usize, "failure");
        match (one.succeeded, one.failed) {
            (true, 0) => ago,
            (true, _) => format!("{ago} after {failed}"),
            (false, 1) => format!("<b>failed {ago}</b>"),
            (false, number) => format!("<b>failed {number} times, last {ago}</b>"),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

fn facts(html: &mut String, secret: &Secret, rotations: &[Rotation], now: Timestamp) {
    let never = || "never".to_owned();
    let past = |at: Option<Timestamp>| at.map_or_else(never, |at| time(at, relative(at, now)));
    let next = secret.next.map_or_else(never, |at| time(at, due(at, now)));
    let because = format!("{next}<small>{}</small>", Safe(&secret.because));
    let mut facts = vec![
        ("in Vault", format!("<code>{}</code>", Safe(&secret.place))),
        ("last rotation", past(secret.last_success)),
        ("next rotation", because),
    ];
    if !rotations.is_empty() {
        facts.push(("last rotations", told(rotations, now)));
    }
    if let Some(paused) = &secret.paused {
        let reason = paused
            .reason
            .as_ref()
            .map(|why| format!("<small>{}</small>", Safe(why)));
        let until = paused.until.map_or_else(
            || "until `dtrotate resume`".to_owned(),
            |at| format!("until {}", time(at, exact(at))),
        );
        let text = format!(
            "by {}, {until}{}",
            Safe(&paused.by),
            reason.unwrap_or_default()
        );
        facts.push(("paused", text));
    }
    if let Some(token) = &secret.current {
        let age = token
            .created
            .map(|at| format!("<small>made {}</small>", time(at, relative(at, now))));
        let id = format!(
            "<code>{}</code>{}",
            Safe(&token.id),
            age.unwrap_or_default()
        );
        facts.push(("expires", past(token.expires)));
        facts.push(("token", id));
    }
    if !secret.labels.is_empty() {
        facts.push(("labels", labels(secret)));
    }
    if let Some(drift) = &secret.drift {
        let text = format!("{}<small>the next rotation applies it</small>", Safe(drift));
        facts.push(("drift", text));
    }
    if let Some(holder) = &secret.holder {
        facts.push(("held by", Safe(holder).to_string()));
    }
    *html += "<dl>\n";
    for (name, value) in facts {
        let _ = writeln!(html, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    *html += "</dl>\n";
}

/// Each label as a link to the secrets that have it.
fn labels(secret: &Secret) -> String {
    let links = secret.labels.iter().map(|(name, value)| {
        let label = Label {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let text = Safe(label.to_string()).to_string();
        let query = Query {
            labels: vec![label],
            ..Query::default()
        };
        format!("<a href=\"{}\">{text}</a>", Safe(query.address()))
    });
    links.collect::<Vec<_>>().join(" ")
}

fn retiring(html: &mut String, secret: &Secret, now: Timestamp) {
    if secret.retiring.is_empty() {
        return;
    }
    *html += "<ul class=\"retiring\">\n";
    for entry in &secret.retiring {
        let _ = write!(
            html,
            "<li><code>{}</code> {} {}",
            Safe(&entry.id),
            entry.next_step(),
            time(entry.due, secret.step_comes(entry.due, now))
        );
        if let Some(held) = entry.held_since {
            let from = entry.used_from.as_deref().unwrap_or("an unknown address");
            let _ = write!(
                html,
                "<span class=\"held\">still used from <b>{}</b>, held for {}</span>",
                Safe(from),
                span(now.duration_since(held))
            );
        }
        for problem in &entry.problems {
            let _ = write!(
                html,
                "<span class=\"held\">{}</span>",
                Safe(&problem.message)
            );
        }
        *html += "</li>\n";
    }
    *html += "</ul>\n";
}

/// A time in words, the exact one under the pointer.
pub(super) fn time(at: Timestamp, words: String) -> String {
    format!(
        "<time datetime=\"{at}\" title=\"{}\">{words}</time>",
        exact(at)
    )
}
