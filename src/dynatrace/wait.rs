//! How long a server asks to be left alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// A longer wish is cut to this: a broken header must not silence an environment for days.
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait that `Retry-After` (seconds or an HTTP date) or else `X-RateLimit-Reset` asks for. Points in time are compared with
/// the answer's own `Date`, so that a wrong clock here does not matter. What is past, zero or unreadable is no wish.
pub(super) fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let now = text(DATE.as_str())
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or_else(SystemTime::now);
    let wait = text(RETRY_AFTER.as_str())
        .and_then(|wish| retry_after(wish, now))
        .or_else(|| text("x-ratelimit-reset").and_then(|wish| reset(wish, now)))?;
    (!wait.is_zero()).then(|| wait.min(LONGEST))
}

fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok(),
    }
}

/// `X-RateLimit-Reset` is documented in microseconds since 1970, and Dynatrace's own Go client reads seconds; so the magnitude
/// decides (each range spans the years 1973 to 5138). Small numbers cannot be a point in time: they are seconds to wait.
fn reset(text: &str, now: SystemTime) -> Option<Duration> {
    let number: u64 = text.parse().ok()?;
    let since_epoch = match number {
        0..100_000_000 => return Some(Duration::from_secs(number)),
        100_000_000..100_000_000_000 => Duration::from_secs(number),
        100_000_000_000..100_000_000_000_000 => Duration::from_millis(number),
        _ => Duration::from_micros(number),
    };
    (UNIX_EPOCH + since_epoch).duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT"; // 1_700_000_000

    fn wish(name: &'static str, value: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static(NOW));
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
        asked_for(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        assert_eq!(wish("retry-after", "7"), Some(7));
        assert_eq!(
            wish("retry-after", "Tue, 14 Nov 2023 22:13:25 GMT"),
            Some(5)
        );
        assert_eq!(wish("retry-after", "999999"), Some(3600));
        for nothing in ["0", "-5", "soon", "Tue, 14 Nov 2023 22:13:10 GMT"] {
            assert_eq!(wish("retry-after", nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_reset_is_read_by_its_magnitude() {
        for (value, expected) in [
            ("1700000009", Some(9)),
            ("1700000009000", Some(9)),
            ("1700000009000000", Some(9)),
            ("30", Some(30)),
            ("1699999999", None),
            ("18446744073709551615", Some(3600)),
            ("x", None),
        ] {
            assert_eq!(wish("x-ratelimit-reset", value), expected, "{value}");
        }
    }
}
