//! Times as the APIs write them: ISO 8601 with or without milliseconds, with any offset or none (UTC), with `T` or a space;
//! or integer milliseconds since 1970 (v1's schema says these, its worked examples show ISO texts).
//!
//! A time that cannot be read is an error, never "none": an unreadable end must not become "never", an unreadable last use must
//! not become "never used".

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads an optional time; absent, `null`, an empty text and numbers up to 0 are none. For `#[serde(deserialize_with)]`.
pub(super) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    read(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn read(value: &Value) -> Result<Option<Timestamp>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => match number.as_i64() {
            Some(..=0) => Ok(None),
            Some(ms) => Timestamp::from_millisecond(ms)
                .map(Some)
                .map_err(|_| "a time out of range"),
            None => Err("a time that is not a whole number"),
        },
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => parse(text.trim())
            .map(Some)
            .ok_or("a time in an unknown form"),
        _ => Err("a time that is neither text nor number"),
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let civil: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// How a time is written for the API: UTC with milliseconds and `Z`, the form that all its documents name.
pub(super) fn write(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_is_read() {
        let second = Timestamp::from_second(1_611_554_221).unwrap();
        let milli = Timestamp::from_millisecond(1_611_554_221_123).unwrap();
        for (given, expected) in [
            (json!("2021-01-25T05:57:01Z"), Some(second)),
            (json!("2021-01-25T05:57:01.123Z"), Some(milli)),
            (json!("2021-01-25T06:57:01.123+01:00"), Some(milli)),
            (json!("2021-01-25 05:57:01"), Some(second)),
            (json!("2021-01-25T05:57:01.123"), Some(milli)),
            (json!(1_611_554_221_123_i64), Some(milli)),
            (json!(null), None),
            (json!(""), None),
            (json!(0), None),
            (json!(-1), None),
        ] {
            assert_eq!(read(&given), Ok(expected), "{given}");
        }
        assert_eq!(
            read(&json!("2021-01-25T05:57Z"))
                .unwrap()
                .unwrap()
                .as_second(),
            1_611_554_220
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_not_never() {
        for given in [
            json!("soon"),
            json!("now+14d"),
            json!(i64::MAX),
            json!(1.5),
            json!(true),
            json!({}),
        ] {
            assert!(read(&given).is_err(), "{given}");
        }
    }

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds() {
        let instant = Timestamp::from_millisecond(1_611_554_221_120).unwrap();
        assert_eq!(write(instant), "2021-01-25T05:57:01.120Z");
    }
}
