//! The stand-in's own notion of now: the system's clock plus an offset that a test can move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

/// Shared by every part of one simulator. Cloning shares the offsets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    offset_ms: Arc<AtomicI64>,
    date_offset_ms: Arc<AtomicI64>,
    sequence: Arc<AtomicU64>,
}

impl Clock {
    /// What the stand-in takes for the present.
    pub(crate) fn now(&self) -> Timestamp {
        shifted(Timestamp::now(), self.offset_ms.load(Ordering::Relaxed))
    }

    /// The value of the `Date` header, which may be off on top of [`Clock::now`].
    pub(crate) fn date_header(&self) -> String {
        let shown = shifted(self.now(), self.date_offset_ms.load(Ordering::Relaxed));
        httpdate::fmt_http_date(SystemTime::try_from(shown).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    pub(crate) fn set_offset(&self, offset: SignedDuration) {
        self.offset_ms.store(millis(offset), Ordering::Relaxed);
    }

    pub(crate) fn set_date_offset(&self, offset: SignedDuration) {
        self.date_offset_ms.store(millis(offset), Ordering::Relaxed);
    }

    /// The next number of one order over everything that changes anywhere in this simulator.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }
}

fn millis(offset: SignedDuration) -> i64 {
    i64::try_from(offset.as_millis()).unwrap_or(0)
}

fn shifted(at: Timestamp, by_ms: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_millis(by_ms))
        .unwrap_or(at)
}
