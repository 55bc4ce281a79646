//! The next 24 hours: how much happens when, and what happens first.

use std::fmt::Write as _;

use super::super::humanize::due;
use super::super::status::Status;
use super::super::upcoming::{HOURS, Outlook};
use super::super::view::Query;
use super::{Safe, row};

/// The chart's measures, in its own units: an hour's width, the bar in it, the height.
const STEP: usize = 10;
const BAR: usize = 8;
const HEIGHT: usize = 40;

pub(super) fn render(html: &mut String, status: &Status, query: &Query, outlook: &Outlook) {
    if status.counts.secrets == 0 {
        return;
    }
    let events = outlook.events.iter();
    let events: Vec<String> = events.map(|(what, number)| what.counted(*number)).collect();
    let events = match events.is_empty() {
        true => "nothing is due".to_owned(),
        false if outlook.is_cut => format!("at least {}", events.join(", ")),
        false => events.join(", "),
    };
    let _ = writeln!(
        html,
        "<section class=\"soon\">\n<h2>Next 24 hours <small>{events}</small></h2>"
    );
    let all: usize = outlook.events.values().sum();
    if all > outlook.first.len() {
        chart(html, status, outlook);
    }
    if !outlook.first.is_empty() {
        first(html, status, query, outlook);
    }
    let left = all - outlook.first.len();
    let more = if outlook.is_cut { "at least " } else { "" };
    if left > 0 {
        let _ = writeln!(
            html,
            "<p class=\"place\">and {more}{left} more: <code class=\"copy\">dtrotate upcoming --within 24h</code></p>"
        );
    }
    *html += "</section>\n";
}

/// A bar for each hour.
fn chart(html: &mut String, status: &Status, outlook: &Outlook) {
    let most = outlook.hours.iter().copied().max().unwrap_or(0).max(1);
    let busiest = outlook.hours.iter().position(|number| *number == most);
    let label = match busiest.unwrap_or(0) {
        0 => format!("Most in the next hour: {most}"),
        hour => format!("Most in {hour} to {} hours: {most}", hour + 1),
    };
    let _ = write!(
        html,
        "<svg class=\"hours\" viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">",
        HOURS * STEP
    );
    for (hour, number) in outlook.hours.iter().enumerate().filter(|(_, it)| **it > 0) {
        let height = (number * HEIGHT).div_ceil(most).max(2);
        let _ = write!(
            html,
            "<rect x=\"{}\" y=\"{}\" width=\"{BAR}\" height=\"{height}\"/>",
            hour * STEP + (STEP - BAR) / 2,
            HEIGHT - height
        );
    }
    *html += "</svg>\n<p class=\"scale\" aria-hidden=\"true\">";
    for hours in [0, 6, 12, 18, 24] {
        let at = status.at + jiff::SignedDuration::from_hours(hours);
        let _ = write!(html, "<span>{}</span>", at.strftime("%H:%MZ"));
    }
    *html += "</p>\n";
}

fn first(html: &mut String, status: &Status, query: &Query, outlook: &Outlook) {
    *html += "<ul class=\"events\">\n";
    for one in &outlook.first {
        let there = Query {
            text: one.secret.clone().unwrap_or_default(),
            is_still: query.is_still,
            ..Query::default()
        };
        let _ = writeln!(
            html,
            "<li>{} <b>{}</b> <a href=\"{}\">{}</a></li>",
            row::time(one.at, due(one.at, status.at)),
            one.event.as_str(),
            Safe(there.address()),
            Safe(one.secret.as_deref().unwrap_or(&one.environment))
        );
    }
    *html += "</ul>\n";
}
