//! What the clocks of services say.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

/// How far the clock of one server is from ours, from its last answer with a `Date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Server minus local; zero when the `Date` lies between asking and the end of the answer.
    pub ahead: SignedDuration,
    /// When the answer came, by the local clock.
    pub seen: Timestamp,
}

/// Keeps the latest [`Skew`] of one service. Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub struct ServerClock(Arc<Mutex<Option<Skew>>>);

impl ServerClock {
    /// Both are of one service.
    pub fn is(&self, other: &ServerClock) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The latest observation.
    pub fn skew(&self) -> Option<Skew> {
        *self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes a `Date` of an answer asked for and received at these local times. A `Date` has whole seconds, cut off.
    pub(super) fn observe(&self, date: Timestamp, asked: Timestamp, seen: Timestamp) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(skew(date, asked, seen));
    }

    /// Takes a time that is in the content of such an answer, in whole seconds as well. The one that differs more counts.
    pub fn observe_also(&self, date: Timestamp, asked: Timestamp, seen: Timestamp) {
        let new = skew(date, asked, seen);
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let kept = known.filter(|it| it.seen >= asked && it.ahead.abs() >= new.ahead.abs());
        *known = kept.or(Some(new));
    }
}

fn skew(date: Timestamp, asked: Timestamp, seen: Timestamp) -> Skew {
    let earliest = asked.saturating_sub(SignedDuration::from_secs(1));
    let ahead = match earliest {
        Ok(earliest) if date < earliest => date.duration_since(earliest),
        _ if date > seen => date.duration_since(seen),
        _ => SignedDuration::ZERO,
    };
    Skew { ahead, seen }
}
