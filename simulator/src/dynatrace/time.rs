//! Dynatrace's ways of writing an instant: read all of them, write two of them in turn.

use jiff::civil::{DateTime, Time};
use jiff::tz::Offset;
use jiff::{Span, Timestamp};

/// Reads an instant as the tokens API v2 documents it: UTC milliseconds, `2021-01-25T05:57:01.123+01:00` (seconds and zone
/// optional, a space for the `T` allowed), or relative to now as in `now+14d` or `now-1w/d`.
pub(crate) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Timestamp::from_millisecond(text.parse().ok()?).ok();
    }
    if let Some(rest) = text.strip_prefix("now") {
        return relative(rest, now);
    }
    absolute(text)
}

fn absolute(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 16
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b' ')
        && bytes[13] == b':';
    if !shaped || text.contains('[') {
        return None;
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let civil: DateTime = text.parse().ok()?;
    Offset::UTC.to_timestamp(civil).ok()
}

fn relative(rest: &str, now: Timestamp) -> Option<Timestamp> {
    let (shift, align) = match rest.split_once('/') {
        Some((shift, align)) => (shift, Some(align)),
        None => (rest, None),
    };
    let mut at = Offset::UTC.to_datetime(now);
    if !shift.is_empty() {
        let (sign, amount) = shift.split_at_checked(1)?;
        let (count, unit) = amount.split_at_checked(amount.len().checked_sub(1)?)?;
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let span = span_of(count.parse().ok()?, unit)?;
        at = match sign {
            "+" => at.checked_add(span).ok()?,
            "-" => at.checked_sub(span).ok()?,
            _ => return None,
        };
    }
    match align {
        None => Offset::UTC.to_timestamp(at).ok(),
        Some(unit) => aligned(at, unit),
    }
}

fn span_of(count: i64, unit: &str) -> Option<Span> {
    let span = Span::new();
    match unit {
        "m" => span.try_minutes(count),
        "h" => span.try_hours(count),
        "d" => span.try_days(count),
        "w" => span.try_weeks(count),
        "M" => span.try_months(count),
        "y" => span.try_years(count),
        _ => return None,
    }
    .ok()
}

/// The beginning of the unit that the instant lies in.
fn aligned(at: DateTime, unit: &str) -> Option<Timestamp> {
    let (date, time) = (at.date(), at.time());
    let start = match unit {
        "m" => date.to_datetime(Time::new(time.hour(), time.minute(), 0, 0).ok()?),
        "h" => date.to_datetime(Time::new(time.hour(), 0, 0, 0).ok()?),
        "d" => date.to_datetime(Time::midnight()),
        "w" => {
            let since_monday = i64::from(date.weekday().to_monday_zero_offset());
            date.checked_sub(Span::new().days(since_monday))
                .ok()?
                .to_datetime(Time::midnight())
        }
        "M" => date.first_of_month().to_datetime(Time::midnight()),
        "y" => date.first_of_year().to_datetime(Time::midnight()),
        _ => return None,
    };
    Offset::UTC.to_timestamp(start).ok()
}

/// `2026-01-02T03:04:05Z` or `2026-01-02T03:04:05.006Z`: both occur in real answers.
pub(crate) fn written(at: Timestamp, with_millis: bool) -> String {
    let seconds = at.strftime("%Y-%m-%dT%H:%M:%S");
    if with_millis {
        let millis = at.as_millisecond().rem_euclid(1000);
        format!("{seconds}.{millis:03}Z")
    } else {
        format!("{seconds}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, written};
    use jiff::Timestamp;

    fn now() -> Timestamp {
        "2026-03-04T05:06:07.890Z".parse().expect("a timestamp")
    }

    #[test]
    fn reads_every_documented_form() {
        for (text, expected) in [
            ("1611554221123", "2021-01-25T05:57:01.123Z"),
            ("2021-01-25T05:57:01.123+01:00", "2021-01-25T04:57:01.123Z"),
            ("2021-01-25T05:57+01:00", "2021-01-25T04:57:00Z"),
            ("2021-01-25 05:57:01", "2021-01-25T05:57:01Z"),
            ("2021-01-25T05:57Z", "2021-01-25T05:57:00Z"),
            ("now", "2026-03-04T05:06:07.890Z"),
            ("now+14d", "2026-03-18T05:06:07.890Z"),
            ("now-1M", "2026-02-04T05:06:07.890Z"),
            ("now+1y/M", "2027-03-01T00:00:00Z"),
            ("now/w", "2026-03-02T00:00:00Z"),
            ("now-90m/h", "2026-03-04T03:00:00Z"),
        ] {
            let expected: Timestamp = expected.parse().expect("a timestamp");
            assert_eq!(parse(text, now()), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "tomorrow",
            "2021-01-25",
            "now+14",
            "now+d",
            "now*1d",
            "now+1s",
            "now+1d/s",
            "20210125T055701Z",
            "2021-13-25T05:57:01Z",
            "2021-01-25T05:57:01Z[UTC]",
            "now++1d",
            "-5",
        ] {
            assert_eq!(parse(text, now()), None, "{text}");
        }
    }

    #[test]
    fn writes_with_and_without_milliseconds() {
        assert_eq!(written(now(), false), "2026-03-04T05:06:07Z");
        assert_eq!(written(now(), true), "2026-03-04T05:06:07.890Z");
    }
}
