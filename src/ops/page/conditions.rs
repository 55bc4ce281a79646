//! What is open, the worst in full.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::condition::{Condition, Severity};
use super::super::humanize::{count, due, span};
use super::super::status::Status;
use super::{Safe, row};

/// So many of one severity are shown in full; each further one is a row that unfolds.
const IN_FULL: usize = 4;
/// So many are shown; the rest unfolds as a whole.
const SHOWN: usize = 12;

/// Every open condition of this severity.
pub(super) fn all(html: &mut String, status: &Status, severity: Severity, title: &str) {
    let all = status.conditions.iter();
    let open: Vec<&Condition> = all.filter(|one| one.severity == severity).collect();
    if open.is_empty() {
        return;
    }
    let number = match open.len() {
        0..=IN_FULL => String::new(),
        number => format!(" <small>{number}</small>"),
    };
    let _ = writeln!(html, "<section>\n<h2>{title}{number}</h2>");
    let class = match severity {
        Severity::Error => "bad",
        Severity::Warning => "uneasy",
    };
    let folded = open.len().saturating_sub(SHOWN);
    for (number, one) in open.into_iter().enumerate() {
        if number == SHOWN {
            let _ = writeln!(
                html,
                "<details class=\"{class} more\">\n<summary>{folded} more</summary>"
            );
        }
        let (title, kind) = title_of(one);
        let since = span(status.at.duration_since(one.since));
        let title = Safe(title);
        if number < IN_FULL {
            let _ = writeln!(
                html,
                "<article class=\"{class}\">\n<h3>{title}</h3>\n<p class=\"state\">{kind} for {since}</p>"
            );
            details(html, one, status.at);
            *html += "</article>\n";
        } else {
            let _ = writeln!(
                html,
                "<details class=\"{class} condition\">\n<summary><span class=\"name\">{title}</span> <span class=\"state\">{kind} for {since}</span></summary>"
            );
            details(html, one, status.at);
            *html += "</details>\n";
        }
    }
    if folded > 0 {
        *html += "</details>\n";
    }
    *html += "</section>\n";
}

/// What it is about, and what it is; the kind is the title of one that is about nothing in particular.
fn title_of(one: &Condition) -> (&str, String) {
    let about = one.secret.as_deref().or(one.environment.as_deref());
    let kind = Safe(one.kind.replace('_', " ")).to_string();
    (about.unwrap_or("dtrotate"), kind)
}

/// What is between backticks is a command to copy.
fn with_commands(text: &str) -> String {
    let mut html = String::new();
    for (number, part) in text.split('`').enumerate() {
        let _ = match number % 2 {
            0 => write!(html, "{}", Safe(part)),
            _ => write!(html, "<code class=\"copy\">{}</code>", Safe(part)),
        };
    }
    html
}

fn details(html: &mut String, one: &Condition, now: Timestamp) {
    let _ = writeln!(html, "<p class=\"what\">{}</p>", Safe(&one.message));
    if !one.what_to_do.is_empty() {
        let _ = writeln!(
            html,
            "<p class=\"what\">{}</p>",
            with_commands(&one.what_to_do)
        );
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
        .map(|at| format!("next try {}", row::time(at, due(at, now))));
    facts.extend(next);
    if let Some(name) = one
        .runbook
        .as_deref()
        .and_then(|page| page.strip_prefix("runbooks/"))
    {
        facts.push(format!("<a href=\"/runbooks/{}\">runbook</a>", Safe(name)));
    }
    let cure = one.what_to_do.contains('`');
    if let Some(secret) = one.secret.as_ref().filter(|_| !cure) {
        facts.push(format!(
            "<code class=\"copy\">dtrotate status '{}'</code>",
            Safe(secret)
        ));
    }
    if !facts.is_empty() {
        let _ = writeln!(html, "<p class=\"place\">{}</p>", facts.join(" · "));
    }
}
