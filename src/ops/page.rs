//! The status page: rendered here, whole; no script and nothing from outside, so that it is readable in every browser and in none.
//!
//! What needs a human comes first, in full; then one row for each secret, which unfolds.

use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use crate::sanitize;

use super::condition::{Condition, Severity};
use super::humanize::{count, exact, relative, span};
use super::secret::{Secret, State};
use super::status::{Daemon, Service, ServiceState, Status};
use super::view::{Page, Query};

mod row;

/// The page's own style; its hash stands in the `Content-Security-Policy`.
pub const STYLE: &str = include_str!("page/style.css");

/// The page asks for itself again after so many seconds.
const AGAIN: u32 = 30;

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

/// The whole page: `status` is the view of it that `query` asks for.
pub fn render(status: &Status, query: &Query) -> String {
    let (class, sentence) = verdict(status);
    let refresh = match query.is_still {
        true => String::new(),
        false => format!("<meta http-equiv=\"refresh\" content=\"{AGAIN}\">\n"),
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n{refresh}\
         <title>{sentence} · dtrotate</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"brand\">dtrotate</p>\n<h1 class=\"{class}\">{sentence}</h1>\n"
    );
    counts(&mut html, status, query);
    services(&mut html, status);
    html += "</header>\n<main>\n";
    let errors = [
        (Severity::Error, "Needs a human"),
        (Severity::Warning, "Recovers automatically"),
    ];
    for (severity, title) in errors {
        conditions(&mut html, status, severity, title);
    }
    filter(&mut html, status, query);
    secrets(&mut html, status, query);
    html += "</main>\n";
    footer(&mut html, status, query);
    html += "</body>\n</html>\n";
    html
}

/// The state of everything in a few words.
fn verdict(status: &Status) -> (&'static str, String) {
    let retrying = status.counts.states.get(&State::Retrying);
    let retrying = retrying.copied().unwrap_or_default();
    let ready = status.daemon.as_ref().is_none_or(|daemon| daemon.ready);
    match status.counts.errors {
        0 if !ready => ("uneasy", "Not ready yet".to_owned()),
        0 if retrying > 0 => (
            "uneasy",
            format!("{}, retried automatically", failing(retrying)),
        ),
        0 => ("good", "All is well".to_owned()),
        1 => ("bad", "1 thing needs a human".to_owned()),
        number => ("bad", format!("{number} things need a human")),
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

/// How many secrets are in each state, each a filter.
fn counts(html: &mut String, status: &Status, query: &Query) {
    if status.counts.secrets == 0 {
        return;
    }
    *html += "<ul class=\"counts\">\n";
    for (state, number) in status.counts.states.iter().rev() {
        let filter = Query {
            state: Some(*state),
            page: Page::default(),
            ..query.clone()
        };
        let _ = writeln!(
            html,
            "<li class=\"{}\"><a href=\"{}\"><b>{number}</b> {}</a></li>",
            row::class(*state),
            Safe(filter.address()),
            state.words()
        );
    }
    *html += "</ul>\n";
}

/// Every open condition of this severity, in full.
fn conditions(html: &mut String, status: &Status, severity: Severity, title: &str) {
    let mut open = status
        .conditions
        .iter()
        .filter(|one| one.severity == severity)
        .peekable();
    if open.peek().is_none() {
        return;
    }
    let _ = writeln!(html, "<section>\n<h2>{title}</h2>");
    for one in open {
        condition(html, one, status.at);
    }
    *html += "</section>\n";
}

fn condition(html: &mut String, one: &Condition, now: Timestamp) {
    let class = match one.severity {
        Severity::Error => "bad",
        Severity::Warning => "uneasy",
    };
    let about = one.secret.as_deref().or(one.environment.as_deref());
    let kind = one.kind.replace('_', " ");
    let (title, kind) = match about {
        Some(about) => (about, kind.as_str()),
        None => (kind.as_str(), ""),
    };
    let _ = writeln!(
        html,
        "<article class=\"{class}\">\n<h3>{}</h3>\n<p class=\"state\">{} for {}</p>\n<p class=\"what\">{}</p>",
        Safe(title),
        Safe(kind),
        span(now.duration_since(one.since)),
        Safe(&one.message)
    );
    if !one.what_to_do.is_empty() {
        let _ = writeln!(html, "<p class=\"what\">{}</p>", Safe(&one.what_to_do));
    }
    let mut facts = vec![];
    facts.extend(
        one.reason
            .as_ref()
            .map(|reason| format!("<code>{}</code>", Safe(reason))),
    );
    let attempts = one
        .attempts
        .map(|attempts| count(attempts as usize, "attempt"));
    facts.extend(attempts);
    let next = one
        .next_try
        .map(|at| format!("next try {}", row::time(at, super::humanize::due(at, now))));
    facts.extend(next);
    if let Some(name) = one
        .runbook
        .as_deref()
        .and_then(|page| page.strip_prefix("runbooks/"))
    {
        facts.push(format!("<a href=\"/runbooks/{}\">runbook</a>", Safe(name)));
    }
    if let Some(secret) = &one.secret {
        facts.push(format!(
            "<code class=\"copy\">dtrotate status '{}'</code>",
            Safe(secret)
        ));
    }
    if !facts.is_empty() {
        let _ = writeln!(html, "<p class=\"place\">{}</p>", facts.join(" · "));
    }
    *html += "</article>\n";
}

/// The form that narrows the page down, where there is enough to narrow down, or it is narrow already.
fn filter(html: &mut String, status: &Status, query: &Query) {
    let is_filtered = *query
        != Query {
            page: query.page,
            is_still: query.is_still,
            ..Query::default()
        };
    if !is_filtered && status.counts.secrets < 10 {
        return;
    }
    let _ = write!(
        html,
        "<form method=\"get\" role=\"search\">\n<label>Name, place or token id <input type=\"search\" name=\"q\" value=\"{}\"></label>\n\
         <label>Environment <select name=\"environment\">\n<option value=\"\">all</option>\n",
        Safe(&query.text)
    );
    for environment in status
        .services
        .iter()
        .filter_map(|service| service.environment.as_deref())
    {
        let selected = match environment == query.environment {
            true => " selected",
            false => "",
        };
        let _ = writeln!(html, "<option{selected}>{}</option>", Safe(environment));
    }
    *html += "</select></label>\n";
    for label in &query.labels {
        let _ = writeln!(
            html,
            "<label>Label <input name=\"label\" value=\"{}\"></label>",
            Safe(label)
        );
    }
    *html += "<label>State <select name=\"state\">\n<option value=\"\">all</option>\n";
    for state in State::ALL {
        let selected = match query.state == Some(state) {
            true => " selected",
            false => "",
        };
        let _ = writeln!(
            html,
            "<option value=\"{}\"{selected}>{}</option>",
            state.as_str(),
            state.words()
        );
    }
    *html += "</select></label>\n<button>Show</button>";
    if is_filtered {
        *html += " <a href=\"/\">all secrets</a>";
    }
    *html += "\n</form>\n";
}

/// The secrets by environment, those that need a human first.
fn secrets(html: &mut String, status: &Status, query: &Query) {
    if status.secrets.is_empty() {
        let empty = match *query == Query::default() {
            true => "No secret is configured.",
            false => "No secret fits.",
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
            row::render(html, status, secret);
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

fn footer(html: &mut String, status: &Status, query: &Query) {
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
    let other = Query {
        is_still: !query.is_still,
        ..query.clone()
    };
    let words = match query.is_still {
        true => "renew the page every 30 s".to_owned(),
        false => format!("renewed every {AGAIN} s; stop renewing"),
    };
    let _ = writeln!(
        html,
        "<p>{}. <a href=\"{}\">{words}</a> · <a href=\"/status\">JSON</a> · <a href=\"/metrics\">metrics</a> · <a href=\"/runbooks/README.md\">runbook</a></p>\n</footer>",
        exact(status.at),
        Safe(other.address())
    );
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

    #[test]
    fn everything_is_on_it_and_nothing_from_outside() {
        let html = render(&fixture::status(), &Query::default());
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
            "dtrotate status 'dynatrace/stuck'",
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
    fn p5_nothing_from_outside_acts_on_the_page() {
        let html = render(&fixture::hostile(), &Query::default());
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
        status = status.narrowed(|one| !one.needs_human(), |_| false);
        assert_eq!(verdict(&status), ("good", "All is well".to_owned()));
        if let Some(daemon) = &mut status.daemon {
            daemon.ready = false;
        }
        assert_eq!(verdict(&status).0, "uneasy");
        assert!(render(&status, &Query::default()).contains("No secret is configured"));
    }
}
