//! A secret in one row, which unfolds.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::labels::Label;

use super::super::humanize::{count, due, exact, relative, span};
use super::super::secret::{Mood, Retiring, Secret, State};
use super::super::status::Status;
use super::super::view::Query;
use super::Safe;

/// The colour of a state.
pub(super) fn class(state: State) -> &'static str {
    match state.mood() {
        Mood::Bad => "bad",
        Mood::Uneasy => "uneasy",
        Mood::Good => "good",
        Mood::Off => "off",
    }
}

pub(super) fn render(html: &mut String, status: &Status, secret: &Secret) {
    let now = status.at;
    let class = match status.troubles_of(&secret.name).next() {
        Some(_) => "bad",
        None => class(secret.state),
    };
    let last = secret
        .last_success
        .map(|at| format!("rotated {}", relative(at, now)));
    let next = secret.next.map(|at| format!("next {}", due(at, now)));
    let old = (!secret.retiring.is_empty()).then(|| count(secret.retiring.len(), "old token"));
    let _ = writeln!(
        html,
        "<details class=\"{class}\" id=\"{name}\">\n<summary><span class=\"name\">{name}</span> <span class=\"state\">{}</span> \
         <span>{}</span> <span>{}</span> <span>{}</span></summary>",
        secret.state.words(),
        last.unwrap_or_default(),
        next.unwrap_or_default(),
        old.unwrap_or_default(),
        name = Safe(&secret.name),
    );
    facts(html, secret, now);
    retiring(html, &secret.retiring, now);
    *html += "</details>\n";
}

fn facts(html: &mut String, secret: &Secret, now: Timestamp) {
    let never = || "never".to_owned();
    let past = |at: Option<Timestamp>| at.map_or_else(never, |at| time(at, relative(at, now)));
    let next = secret.next.map_or_else(never, |at| time(at, due(at, now)));
    let because = format!("{next}<small>{}</small>", Safe(&secret.because));
    let mut facts = vec![
        ("in Vault", format!("<code>{}</code>", Safe(&secret.place))),
        ("last rotation", past(secret.last_success)),
        ("next rotation", because),
    ];
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
        facts.push(("at work", Safe(holder).to_string()));
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

fn retiring(html: &mut String, entries: &[Retiring], now: Timestamp) {
    if entries.is_empty() {
        return;
    }
    *html += "<ul class=\"retiring\">\n";
    for entry in entries {
        let _ = write!(
            html,
            "<li><code>{}</code> {} {}",
            Safe(&entry.id),
            entry.next_step(),
            time(entry.due, due(entry.due, now))
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
