//! An answer of a service.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use zeroize::Zeroizing;

/// An answer, whole. It has no `Debug`: its body may hold secrets. The body's own buffer is wiped when dropped; the buffers of the
/// layers below are not.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Zeroizing<Vec<u8>>,
    /// When the request was sent, by the local clock.
    pub asked: Timestamp,
}

impl Reply {
    /// A header's text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The server's clock (`Date`, whole seconds).
    pub fn date(&self) -> Option<Timestamp> {
        http_date(self.header(&DATE)?)
    }

    /// `Retry-After`: seconds, or a date counted from the server's own clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header(&RETRY_AFTER)?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let from = self.date().unwrap_or(self.asked);
        let wait = http_date(text)?.duration_since(from);
        Some(Duration::try_from(wait).unwrap_or_default())
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}
