//! The status page: rendered here, whole; no script and nothing from outside, so that it is readable in every browser and in none.
//!
//! What needs a human comes first, in full; then one row for each secret, which unfolds.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::sanitize;

use super::condition::Severity;
use super::humanize::{count, exact, needs_human, relative, span};
use super::rotations::Rotation;
use super::secret::{Secret, State};
use super::status::{Daemon, Service, ServiceState, Status};
use super::upcoming::Outlook;
use super::view::{Page, Query};

mod conditions;
mod filter;
mod row;
mod soon;

/// The page's own style; its hash stands in the `Content-Security-Policy`.
pub const STYLE: &str = include_str!("page/style.css");

/// A browser asks for the page again after at most so many seconds, and at least so many.
const RENEWAL: RangeInclusive<i64> = 5..=30;

/// Text from anywhere as HTML text or the value of an attribute.
struct Safe<T>(T);

impl<T: Display> Display for Safe<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in sanitize::line(&self.0.to_string()).chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// What is shown beside the status itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The next hours of all secrets that the filter leaves.
    pub outlook: Outlook,
    /// The last rotations of the secrets on this page, by name, oldest first. What is missing was not read yet.
    pub rotations: BTreeMap<String, Vec<Rotation>>,
}

impl Extras {
    /// After so many seconds a browser asks for the page again: when the next thing has happened, within bounds.
    pub fn renewal(&self, now: Timestamp) -> i64 {
        let next = self.outlook.first.first();
        let wait = next.map_or(i64::MAX, |next| next.at.duration_since(now).as_secs() + 1);
        wait.clamp(*RENEWAL.start(), *RENEWAL.end())
    }
}

/// The whole page: `status` is the view of it that `query` asks for.
pub fn render(status: &Status, query: &Query, extras: &Extras) -> String {
    let (class, sentence) = verdict(status);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{sentence} · dtrotate</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"brand\"><b>dtrotate</b> {}</p>\n<h1 class=\"{class}\">{sentence}</h1>\n",
        moment(status, query, extras.renewal(status.at))
    );
    counts(&mut html, status, query);
    services(&mut html, status);
    html += "</header>\n<main>\n";
    let errors = [
        (Severity::Error, "Needs a human"),
        (Severity::Warning, "Recovers automatically"),
    ];
    for (severity, title) in errors {
        conditions::all(&mut html, status, severity, title);
    }
    soon::render(&mut html, status, query, &extras.outlook);
    filter::render(&mut html, status, query);
    secrets(&mut html, status, query, extras);
    html += "</main>\n";
    footer(&mut html, status);
    html += "</body>\n</html>\n";
    html
}

/// The state of everything in a few words.
fn verdict(status: &Status) -> (&'static str, String) {
    let retrying = status.counts.states.get(&State::Retrying);
    let retrying = retrying.copied().unwrap_or_default();
    let waiting = status.counts.states.get(&State::Waiting);
    let waiting = waiting.copied().unwrap_or_default();
    let ready = status.daemon.as_ref().is_none_or(|daemon| daemon.ready);
    match status.counts.errors {
        0 if !ready => ("uneasy", "Not ready yet".to_owned()),
        0 if retrying > 0 => (
            "uneasy",
            format!("{}, retried automatically", failing(retrying)),
        ),
        0 if waiting > 0 => ("uneasy", format!("{} waiting", count(waiting, "secret"))),
        0 if status.counts.secrets == 0 => ("uneasy", "Nothing to rotate yet".to_owned()),
        0 => ("good", "All is well".to_owned()),
        number => ("bad", needs_human(number)),
    }
}

fn failing(number: usize) -> String {
    match number {
        1 => "1 rotation failed".to_owned(),
        number => format!("{number} rotations failed"),
    }
}

fn services(html: &mut String, status: &Status) {
    if status.services.is_empty() {
        return;
    }
    *html += "<ul class=\"services\">\n";
    for service in &status.services {
        let (class, words) = match service.state {
            ServiceState::Up => ("good", "up"),
            ServiceState::Down => ("bad", "down"),
            ServiceState::Unknown => ("off", "not asked yet"),
        };
        let _ = writeln!(
            html,
            "<li class=\"{class}\"><b>{}</b> {words}{}</li>",
            Safe(service.title()),
            down_for(service, status.at)
        );
    }
    *html += "</ul>\n";
}

fn down_for(service: &Service, now: Timestamp) -> String {
    match (service.since, &service.message) {
        (Some(since), Some(message)) => format!(
            " for {}<span class=\"why\">{}</span>",
            span(now.duration_since(since)),
            Safe(message)
        ),
        _ => String::new(),
    }
}

/// How many secrets are in each state, each a filter. Within one, those with a problem come first.
fn counts(html: &mut String, status: &Status, query: &Query) {
    if status.counts.secrets == 0 {
        return;
    }
    *html += "<ul class=\"counts\">\n";
    for group in status.counts.groups() {
        let filter = Query {
            state: Some(group.state),
            page: Page::default(),
            ..query.clone()
        };
        let _ = writeln!(
            html,
            "<li class=\"{}\"><a href=\"{}\"><b>{}</b> {}</a></li>",
            match group.has_problem {
                true => "bad",
                false => row::class(group.state),
            },
            Safe(filter.address()),
            group.number,
            group.words()
        );
    }
    *html += "</ul>\n";
}

/// The secrets by environment, those that need a human first.
fn secrets(html: &mut String, status: &Status, query: &Query, extras: &Extras) {
    if status.secrets.is_empty() {
        let empty = match query.is_filtered() {
            true => "No secret matches the filter.",
            false => "No secret is configured.",
        };
        let _ = writeln!(html, "<p class=\"empty\">{empty}</p>");
        return;
    }
    let mut environments: Vec<&str> = vec![];
    let shown = status.worst_first();
    for secret in &shown {
        if !environments.contains(&secret.environment.as_str()) {
            environments.push(&secret.environment);
        }
    }
    for environment in environments {
        let here: Vec<&&Secret> = shown
            .iter()
            .filter(|secret| secret.environment == environment)
            .collect();
        let number = match status.part.pages {
            1 => count(here.len(), "secret"),
            _ => format!("{} on this page", here.len()),
        };
        let _ = writeln!(
            html,
            "<section>\n<h2>{} <small>{number}</small></h2>",
            Safe(environment)
        );
        for secret in here {
            let rotations = extras.rotations.get(&secret.name);
            row::render(html, status, secret, rotations.map_or(&[], Vec::as_slice));
        }
        *html += "</section>\n";
    }
    pages(html, status, query);
}

fn pages(html: &mut String, status: &Status, query: &Query) {
    let part = status.part;
    if part.pages < 2 {
        return;
    }
    let link = |number, words: &str| {
        let there = Query {
            page: Page::Number(number),
            ..query.clone()
        };
        format!("<a href=\"{}\">{words}</a> ", Safe(there.address()))
    };
    *html += "<nav aria-label=\"Pages\">\n";
    if part.page > 1 {
        *html += &link(part.page - 1, "previous");
    }
    let _ = write!(html, "page {} of {} ", part.page, part.pages);
    if part.page < part.pages {
        *html += &link(part.page + 1, "next");
    }
    *html += "\n</nav>\n";
}

fn footer(html: &mut String, status: &Status) {
    *html += "<footer>\n";
    if let Some(daemon) = &status.daemon {
        let _ = writeln!(
            html,
            "<p>{} {}, up for {}: {}</p>\n<p>{}</p>",
            Safe(&daemon.instance),
            Safe(&daemon.version),
            span(status.at.duration_since(daemon.started)),
            Safe(&daemon.readiness),
            configuration(daemon, status.at)
        );
    }
    *html += "<p><a href=\"/status\">JSON</a> · <a href=\"/metrics\">metrics</a> · <a href=\"/runbooks/README.md\">runbook</a></p>\n</footer>\n";
}

/// Of when the page is, and the first link of it: whoever reads slowly keeps it from being renewed (WCAG 2.2.1).
fn moment(status: &Status, query: &Query, renewal: i64) -> String {
    let other = Query {
        is_still: !query.is_still,
        ..query.clone()
    };
    let words = match query.is_still {
        true => format!("renew in {renewal} s"),
        false => format!("renewed in {renewal} s: stop"),
    };
    format!(
        "at {} · <a href=\"{}\">{words}</a>",
        exact(status.at),
        Safe(other.address())
    )
}

fn configuration(daemon: &Daemon, now: Timestamp) -> String {
    let reload = &daemon.reload;
    match reload.ok {
        true => format!("configuration read {}", relative(reload.at, now)),
        false => format!(
            "<b>the configuration read {} was refused</b>; the one of {} is in force",
            relative(reload.at, now),
            exact(reload.in_force_since)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn shown(status: &Status) -> String {
        render(status, &Query::default(), &fixture::extras(status))
    }

    #[test]
    fn everything_is_on_it_and_nothing_from_outside() {
        let html = shown(&fixture::status());
        for word in [
            "2 things need a human",
            "dynatrace/healthy",
            "still used from <b>192.0.2.7</b>",
            "disabled by a person &lt;b&gt;&amp;&quot;; enable it",
            "connection refused",
            "<code>token_disabled</code>",
            "was refused</b>",
            "<b>1</b> stuck",
            "href=\"/runbooks/stuck-token-disabled.md\"",
            "<code class=\"copy\">dtrotate rotate dynatrace/stuck</code>",
            "1 old, still used",
            "aria-label=\"last 12 rotations: 1 failed, 1 after failures\"",
            "failed 3 times, last 24h ago",
            "5 rotations, 1 old token is disabled",
        ] {
            assert!(html.contains(word), "no {word} in\n{html}");
        }
        let lower = html.to_lowercase();
        for outside in ["<script", "http://", "https://", "@import", "onload"] {
            assert!(!lower.contains(outside), "{outside}");
        }
        assert!(!lower.contains("url("), "a resource of the style");
    }

    #[test]
    fn p8_a_secret_with_an_open_error_is_not_counted_as_healthy() {
        let status = fixture::cut_off(3);
        let html = shown(&status);
        assert!(
            html.contains("<li class=\"bad\"><a href=\"?state=healthy\"><b>1</b> with a problem"),
            "{html}"
        );
        assert!(!html.contains("</b> healthy"), "{html}");
        // The words for machines stay.
        assert_eq!(status.counts.states[&State::Healthy], 1);
        let healthy = fixture::many(5, true);
        assert!(shown(&healthy).contains("<b>4</b> healthy"));
    }

    #[test]
    fn p5_nothing_from_outside_acts_on_the_page() {
        let html = shown(&fixture::hostile());
        let acts = |c| c != '\n' && sanitize::is_hazard(c);
        assert!(!html.contains(acts), "{html:?}");
        assert!(
            html.contains("\\u{1b}[2J") && !html.contains("CANARY"),
            "{html}"
        );
    }

    #[test]
    fn the_headline_says_the_worst() {
        let mut status = fixture::status();
        assert_eq!(verdict(&status).0, "bad");
        status = status.narrowed(|one| !one.needs_human(), |_| true);
        assert_eq!(
            verdict(&status),
            (
                "uneasy",
                "1 rotation failed, retried automatically".to_owned()
            )
        );
        status.daemon = fixture::status().daemon;
        status = status.narrowed(|_| true, |secret| secret.state == State::Healthy);
        assert_eq!(verdict(&status), ("good", "All is well".to_owned()));
        let mut waits = status.clone();
        for secret in &mut waits.secrets {
            secret.wait_for("Vault", waits.at);
        }
        waits = waits.narrowed(|_| true, |_| true);
        let number = waits.secrets.len();
        assert_eq!(
            verdict(&waits).1,
            format!("{} waiting", count(number, "secret"))
        );
        status.daemon = fixture::status().daemon;
        status = status.narrowed(|_| true, |_| false);
        assert_eq!(verdict(&status).1, "Nothing to rotate yet");
        if let Some(daemon) = &mut status.daemon {
            daemon.ready = false;
        }
        assert_eq!(verdict(&status).0, "uneasy");
        assert!(shown(&status).contains("No secret is configured"));
    }
}
