//! How long a server asks its clients to wait before the next request.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderName;

use crate::http::Reply;

/// A longer wait is cut to this: a broken header must not silence an environment for days.
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait that `Retry-After` or else `X-RateLimit-Reset` asks for. Points in time are compared with the answer's own `Date`, so
/// that a wrong clock here does not matter. `None` for a time in the past, for zero and for what cannot be read.
pub(super) fn asked_for(reply: &Reply) -> Option<Duration> {
    let wait = reply.retry_after().or_else(|| {
        let text = reply.header(&HeaderName::from_static("x-ratelimit-reset"))?;
        reset(text.trim(), reply.date().unwrap_or(reply.asked))
    })?;
    (!wait.is_zero()).then(|| wait.min(LONGEST))
}

/// `X-RateLimit-Reset` is documented in microseconds since 1970, and Dynatrace's own Go client reads seconds; so the magnitude
/// decides (each range spans the years 1973 to 5138). Small numbers cannot be a point in time: they are seconds to wait.
fn reset(text: &str, now: Timestamp) -> Option<Duration> {
    let number: i64 = text.parse().ok()?;
    let at = match number {
        ..0 => return None,
        0..100_000_000 => return Some(Duration::from_secs(number.unsigned_abs())),
        100_000_000..100_000_000_000 => Timestamp::from_second(number),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number),
        _ => Timestamp::from_microsecond(number),
    };
    Duration::try_from(at.ok()?.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{DATE, HeaderMap, HeaderValue};
    use zeroize::Zeroizing;

    use super::*;

    const NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT"; // 1_700_000_000

    fn wish(name: &'static str, value: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static(NOW));
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
        let reply = Reply {
            status: 429,
            headers,
            body: Zeroizing::default(),
            asked: Timestamp::UNIX_EPOCH,
        };
        asked_for(&reply).map(|wait| wait.as_secs())
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
            ("9223372036854775807", None),
            ("4000000000", Some(3600)),
            ("-5", None),
            ("x", None),
        ] {
            assert_eq!(wish("x-ratelimit-reset", value), expected, "{value}");
        }
    }
}
