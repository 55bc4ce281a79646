//! Times in words, short enough for a column and a phone, and sentences in lines that fit a terminal.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The width of a terminal that says nothing about itself.
pub const WIDTH: usize = 80;

/// A length in its largest fitting unit: `45s`, `12m`, `30h`, `90d`.
pub fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs().unsigned_abs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        // Two days of hours: "in 30h" says more than "in 1d".
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago, or in how long: `3d ago`, `in 4h`, `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let ahead = at.duration_since(now);
    match ahead.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(nearest(ahead))),
        _ => format!("{} ago", span(ahead)),
    }
}

/// To the nearest of the unit in which it is shown: what comes in 23h 59m comes "in 24h".
fn nearest(length: SignedDuration) -> SignedDuration {
    let seconds = length.as_secs() + i64::from(length.subsec_nanos() > 0);
    let unit = match seconds {
        ..60 => 1,
        60..3600 => 60,
        3600..172_800 => 3600,
        _ => 86_400,
    };
    SignedDuration::from_secs((seconds + unit / 2) / unit * unit)
}

/// The same for something that is due: what should have happened by now is `now`.
pub fn due(at: Timestamp, now: Timestamp) -> String {
    relative(at.max(now), now)
}

/// The exact time, to the second, in UTC: `2026-11-25 10:00:03Z`.
pub fn exact(at: Timestamp) -> String {
    at.strftime("%F %TZ").to_string()
}

/// The same in the time zone with this IANA name: `2026-11-25 11:00:03 CET`. In UTC where there is none or nobody knows it.
pub fn local(at: Timestamp, zone: Option<&str>) -> String {
    match zone.map(TimeZone::get) {
        Some(Ok(zone)) => at.to_zoned_datetime(zone).strftime("%F %T %Z").to_string(),
        _ => exact(at),
    }
}

/// A time ahead on the clocks of that zone, short enough for a column: `now`, `Tue 10:00 CET` within a week, `08 Dec 2026` later.
pub fn moment(at: Timestamp, now: Timestamp, zone: Option<&str>) -> String {
    let zone = zone.and_then(|name| TimeZone::get(name).ok());
    let local = at.to_zoned_datetime(zone.unwrap_or(TimeZone::UTC));
    let ahead = at.duration_since(now);
    match ahead.as_hours() {
        _ if ahead <= SignedDuration::ZERO => "now".to_owned(),
        // On the seventh day its name is that of today.
        0..144 => local.strftime("%a %H:%M %Z").to_string(),
        _ => local.strftime("%d %b %Y").to_string(),
    }
}

/// `1 thing needs a human`, `2 things need a human`.
pub fn needs_human(number: usize) -> String {
    match number {
        1 => "1 thing needs a human".to_owned(),
        number => format!("{number} things need a human"),
    }
}

/// `1 secret`, `2 secrets`.
pub fn count(number: usize, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// How many columns `text` takes.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// `text` in lines that fit, each with `indent` before it.
pub fn wrapped(text: &str, indent: &str) -> String {
    hanging(indent, text)
}

/// `text` behind `head`; the lines after the first are as far in. A word longer than a line has one of its own.
pub fn hanging(head: &str, text: &str) -> String {
    let indent = " ".repeat(width(head));
    let (mut lines, mut line) = (String::new(), head.to_owned());
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && width(&line) + 1 + width(word) > WIDTH {
            lines += &line;
            lines.push('\n');
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_shown_in_their_largest_fitting_unit() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |seconds| now + SignedDuration::from_secs(seconds);
        for (seconds, words) in [
            (0, "now"),
            (59, "in 59s"),
            (60, "in 1m"),
            (3569, "in 59m"),
            (3599, "in 1h"),
            (86_399, "in 24h"),
            (172_799, "in 2d"),
            (172_800, "in 2d"),
            (-90, "1m ago"),
        ] {
            assert_eq!(relative(at(seconds), now), words);
        }
        assert_eq!(due(at(-90), now), "now");
        assert_eq!(exact(at(3)), "1970-01-01 00:00:03Z");
        let vienna = Some("Europe/Vienna");
        assert_eq!(local(at(3), vienna), "1970-01-01 01:00:03 CET");
        for unknown in [None, Some("Mars/Olympus")] {
            assert_eq!(local(at(3), unknown), exact(at(3)));
        }
        for (seconds, words) in [
            (-90, "now"),
            (3600, "Thu 02:00 CET"),
            (143 * 3600, "Wed 00:00 CET"),
            (144 * 3600, "07 Jan 1970"),
        ] {
            assert_eq!(moment(at(seconds), now, vienna), words);
        }
    }
}
