//! The status page: rendered here, whole; no script and nothing from outside, so that it is readable in every browser and in none.

use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use crate::sanitize;

use super::humanize::{count, due, exact, relative, span};
use super::secret::{Mood, Retiring, Secret, State};
use super::status::{Daemon, Service, ServiceState, Status, Trouble};

/// The page's own style; its hash stands in the `Content-Security-Policy`.
pub const STYLE: &str = include_str!("page.css");

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

/// The whole page.
pub fn render(status: &Status) -> String {
    let (class, sentence) = verdict(status);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"{AGAIN}\">\n\
         <title>{sentence} · dtrotate</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"brand\">dtrotate</p>\n<h1 class=\"{class}\">{sentence}</h1>\n"
    );
    services(&mut html, status);
    html += "</header>\n<main>\n";
    for trouble in status.general_troubles() {
        general_trouble(&mut html, trouble, status.at);
    }
    if status.secrets.is_empty() {
        html += "<p class=\"empty\">No secret is configured.</p>\n";
    }
    for secret in status.worst_first() {
        article(&mut html, status, secret);
    }
    html += "</main>\n";
    footer(&mut html, status);
    html += "</body>\n</html>\n";
    html
}

/// The state of everything in a few words.
fn verdict(status: &Status) -> (&'static str, String) {
    let retrying = status
        .secrets
        .iter()
        .filter(|secret| secret.state == State::Retrying)
        .count();
    let ready = status.daemon.as_ref().is_none_or(|daemon| daemon.ready);
    match status.troubles.len() {
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

fn general_trouble(html: &mut String, trouble: &Trouble, now: Timestamp) {
    let _ = writeln!(
        html,
        "<article class=\"bad\">\n<h2>{}</h2>\n<p class=\"state\">for {}</p>\n<p class=\"what\">{}</p>\n</article>",
        Safe(trouble.event.replace('_', " ")),
        span(now.duration_since(trouble.since)),
        Safe(&trouble.message)
    );
}

fn article(html: &mut String, status: &Status, secret: &Secret) {
    let now = status.at;
    let troubled = status.troubles_of(&secret.name).next().is_some();
    let class = match secret.state.mood() {
        _ if troubled => "bad",
        Mood::Bad => "bad",
        Mood::Uneasy => "uneasy",
        Mood::Good => "good",
        Mood::Off => "off",
    };
    let since = match &secret.failure {
        Some(failure) => format!(" for {}", span(now.duration_since(failure.since))),
        None => String::new(),
    };
    let _ = writeln!(
        html,
        "<article class=\"{class}\" id=\"{name}\">\n<h2>{name}</h2>\n<p class=\"state\">{}{since}</p>\n\
         <p class=\"place\"><code>{}</code> {}</p>",
        secret.state.words(),
        Safe(&secret.place),
        Safe(&secret.environment),
        name = Safe(&secret.name),
    );
    for trouble in status.troubles_of(&secret.name) {
        let _ = writeln!(html, "<p class=\"what\">{}</p>", Safe(&trouble.message));
    }
    if let Some(failure) = secret
        .failure
        .as_ref()
        .filter(|_| secret.state == State::Retrying)
    {
        let _ = writeln!(html, "<p class=\"what\">{}</p>", Safe(&failure.message));
    }
    if let Some(failure) = &secret.failure {
        let times = count(failure.count as usize, "time");
        let reason = Safe(&failure.reason);
        let _ = writeln!(html, "<p class=\"place\"><code>{reason}</code> {times}</p>");
    }
    facts(html, secret, now);
    retiring(html, &secret.retiring, now);
    *html += "</article>\n";
}

fn facts(html: &mut String, secret: &Secret, now: Timestamp) {
    let never = || "never".to_owned();
    let past = |at: Option<Timestamp>| at.map_or_else(never, |at| time(at, relative(at, now)));
    let next = secret.next.map_or_else(never, |at| time(at, due(at, now)));
    let because = format!("{next}<small>{}</small>", Safe(&secret.because));
    let mut facts = vec![
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
    if let Some(holder) = &secret.holder {
        facts.push(("at work", Safe(holder).to_string()));
    }
    *html += "<dl>\n";
    for (name, value) in facts {
        let class = name.split(' ').next().unwrap_or_default();
        let _ = writeln!(
            html,
            "<div class=\"{class}\"><dt>{name}</dt><dd>{value}</dd></div>"
        );
    }
    *html += "</dl>\n";
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
fn time(at: Timestamp, words: String) -> String {
    format!(
        "<time datetime=\"{at}\" title=\"{}\">{words}</time>",
        exact(at)
    )
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
    let _ = writeln!(
        html,
        "<p>{}. <a href=\"/status\">JSON</a> <a href=\"/metrics\">metrics</a></p>\n</footer>",
        exact(status.at)
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
        let html = render(&fixture::status());
        for word in [
            "2 things need a human",
            "dynatrace/healthy",
            "still used from <b>192.0.2.7</b>",
            "disabled by a person &lt;b&gt;&amp;&quot;; enable it",
            "connection refused",
            "<code>token_disabled</code>",
            "was refused</b>",
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
        let html = render(&fixture::hostile());
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
        status.troubles.clear();
        assert_eq!(
            verdict(&status),
            (
                "uneasy",
                "1 rotation failed, retried automatically".to_owned()
            )
        );
        status.secrets.clear();
        assert_eq!(verdict(&status), ("good", "All is well".to_owned()));
        if let Some(daemon) = &mut status.daemon {
            daemon.ready = false;
        }
        assert_eq!(verdict(&status).0, "uneasy");
        assert!(render(&status).contains("No secret is configured"));
    }
}
